import assert from 'node:assert/strict';
import { Operation, Purpose, Type } from '../../../src/gen/backup/v1/controller_pb.ts';
import { type Backend, startBackend } from '../../support/backend.ts';
import { refused, winners } from '../../support/status.ts';
import { newCourse, rowOf } from './rows.ts';

const NOT_FOUND = { code: 'NOT_FOUND', reason: 'COURSE_NOT_FOUND' } as const;
const STALE = { code: 'ABORTED', reason: 'ETAG_MISMATCH' } as const;

describe('CourseService.DeleteCourse', () => {
  let backend: Backend;
  before(async () => {
    backend = await startBackend();
  });
  after(() => backend[Symbol.asyncDispose]());

  const create = async () =>
    (await backend.courses.upsertCourses({ courses: [{ courseId: newCourse() }] })).courses[0]!;
  const remove = (courseId: bigint, etag = '') => backend.courses.deleteCourse({ courseId, etag });

  it('takes a course out of the schedule, and leaves others and the controllers', async () => {
    const [{ courseId }, other] = [await create(), await create()];
    const { controller } = await backend.controllers.createController({
      operation: Operation.BACKUP,
      type: Type.COURSE,
      itemId: courseId,
      purpose: Purpose.AUTOMATED,
    });
    await remove(courseId);
    assert.equal(await rowOf(backend.database, courseId), undefined);
    await refused(backend.courses.getCourse({ courseId }), NOT_FOUND);
    assert.deepEqual((await backend.courses.getCourse({ courseId: other.courseId })).course, other);
    assert.equal(
      (await backend.controllers.getController({ backupId: controller!.backupId })).controller!.itemId,
      courseId,
    );
  });

  it('deletes nothing with a stale etag', async () => {
    const { courseId, etag } = await create();
    const { courses } = await backend.courses.upsertCourses({
      courses: [{ courseId, nextStartTime: { seconds: 5n } }],
    });
    await refused(remove(courseId, etag), STALE);
    assert.deepEqual((await backend.courses.getCourse({ courseId })).course, courses[0]);
    await remove(courseId, courses[0]!.etag);
  });

  it('knows the etag of a course from that of an earlier row of the same course', async () => {
    const { courseId, etag } = await create();
    await remove(courseId);
    await backend.courses.upsertCourses({ courses: [{ courseId }] });
    await refused(remove(courseId, etag), STALE);
  });

  it('says when there is no such course, also the second time', async () => {
    const { message } = await refused(remove(2n ** 63n - 1n), NOT_FOUND);
    assert.match(message, /9223372036854775807/);
    const { courseId } = await create();
    await remove(courseId);
    await refused(remove(courseId), NOT_FOUND);
  });

  it('lets exactly one of many win that delete at once', async () => {
    const { courseId } = await create();
    const calls = Array.from({ length: 20 }, () => remove(courseId));
    assert.equal(await winners(calls, NOT_FOUND), 1);
  });
});
