import assert from 'node:assert/strict';
import type { MessageInitShape } from '@bufbuild/protobuf';
import { CourseStatus, type CourseUpsertSchema } from '../../../src/gen/backup/v1/course_pb.ts';
import { type Backend, startBackend } from '../../support/backend.ts';
import { refused, winners } from '../../support/status.ts';
import { insert, newCourse, newCourses, rowOf } from './rows.ts';

type Upsert = MessageInitShape<typeof CourseUpsertSchema>;

const STALE = { code: 'ABORTED', reason: 'ETAG_MISMATCH' } as const;

describe('CourseService.UpsertCourses', () => {
  let backend: Backend;
  before(async () => {
    backend = await startBackend({ replicas: 2 });
  });
  after(() => backend[Symbol.asyncDispose]());

  const upsert = (courses: Upsert[]) => backend.courses.upsertCourses({ courses });
  const at = (seconds: bigint) => ({ nextStartTime: { seconds } });

  it('makes new courses, that have not run yet, in the columns of the specification', async () => {
    const courseId = newCourse();
    const { courses, created } = await upsert([
      { courseId, nextStartTime: { seconds: 1_900_000_000n, nanos: 999_999_999 } },
    ]);
    assert.equal(created, 1);
    const [{ id, etag, lastStatus, lastStartTime, lastEndTime, nextStartTime }] = courses as [(typeof courses)[0]];
    assert.deepEqual([lastStatus, lastStartTime, lastEndTime], [CourseStatus.NOT_YET_RUN, undefined, undefined]);
    assert.deepEqual([nextStartTime!.seconds, nextStartTime!.nanos], [1_900_000_000n, 0]);
    assert.notEqual(etag, '');
    assert.deepEqual(await rowOf(backend.database, courseId), {
      courseid: `${courseId}`,
      id: `${id}`,
      laststarttime: '0',
      lastendtime: '0',
      laststatus: '5',
      nextstarttime: '1900000000',
      revision: 1,
      schedule: '',
      backupid: '',
      slot: '0',
      queuedfor: '0',
    });
    assert.deepEqual((await backend.courses.getCourse({ courseId })).course, courses[0]);
  });

  it('sets the next start of a course that is there, and nothing of its life cycle', async () => {
    const courseId = newCourse();
    await insert(backend.database, [{ courseId, start: 100n, end: 200n, next: 300n, status: '4' }]);
    const before = (await backend.courses.getCourse({ courseId })).course!;
    const { courses, created } = await upsert([{ courseId, ...at(400n) }]);
    assert.equal(created, 0);
    const { nextStartTime, etag, ...rest } = courses[0]!;
    assert.deepEqual({ ...before, nextStartTime, etag }, { ...rest, nextStartTime, etag });
    assert.equal(nextStartTime!.seconds, 400n);
    assert.notEqual(etag, before.etag);
    const [none] = (await upsert([{ courseId }])).courses;
    assert.equal(none!.nextStartTime, undefined);
    const row = await rowOf(backend.database, courseId);
    assert.deepEqual([row!['nextstarttime'], row!['laststatus'], row!['laststarttime']], ['0', '4', '100']);
  });

  it('answers in the order of the request, new and known courses mixed', async () => {
    const ids = newCourses(20);
    await upsert(ids.filter((_, i) => i % 3 === 0).map(courseId => ({ courseId })));
    const { courses, created } = await upsert(ids.map((courseId, i) => ({ courseId, ...at(BigInt(i + 1)) })));
    assert.equal(created, 13);
    assert.deepEqual(
      courses.map(({ courseId, nextStartTime }) => [courseId, nextStartTime!.seconds]),
      ids.map((courseId, i) => [courseId, BigInt(i + 1)]),
    );
  });

  it('keeps int64 exactly, and times from the first to the last second', async () => {
    const known = [9_007_199_254_740_993n, 2n ** 63n - 1n];
    const wanted = known.map((courseId, i) => ({ courseId, ...at([1n, 253_402_300_799n][i]!) }));
    const { courses } = await upsert(wanted);
    assert.deepEqual(
      courses.map(({ courseId, nextStartTime }) => [courseId, nextStartTime!.seconds]),
      wanted.map(({ courseId, nextStartTime }) => [courseId, nextStartTime.seconds]),
    );
  });

  it('takes a thousand at once', async () => {
    const ids = newCourses(1000);
    assert.equal((await upsert(ids.map(courseId => ({ courseId, ...at(5n) })))).created, 1000);
    const { courses, created } = await upsert(ids.map(courseId => ({ courseId, ...at(6n) })));
    assert.equal(created, 0);
    assert.deepEqual(
      courses.map(({ courseId }) => courseId),
      ids,
    );
    assert.ok(courses.every(({ nextStartTime }) => nextStartTime!.seconds === 6n));
  });

  it('refuses a course that is named twice, and changes nothing', async () => {
    const [a, b] = newCourses(2) as [bigint, bigint];
    const twice = upsert([{ courseId: a }, { courseId: b }, { courseId: a, ...at(5n) }]);
    await refused(twice, { code: 'INVALID_ARGUMENT', reason: 'INVALID_FIELD', field: 'courses' });
    assert.equal(await rowOf(backend.database, b), undefined);
  });

  it('changes no row when one etag is stale', async () => {
    const [known, other, fresh] = newCourses(3) as [bigint, bigint, bigint];
    const [first] = (
      await upsert([
        { courseId: known, ...at(1n) },
        { courseId: other, ...at(1n) },
      ])
    ).courses;
    const [second] = (await upsert([{ courseId: known, ...at(2n), etag: first!.etag }])).courses;
    const rows = () => Promise.all([known, other, fresh].map(courseId => rowOf(backend.database, courseId)));
    const before = await rows();
    const batch = (etag: string) => [
      { courseId: fresh },
      { courseId: known, ...at(9n), etag },
      { courseId: other, ...at(9n) },
    ];
    for (const etag of [first!.etag, 'made up', '0.1']) await refused(upsert(batch(etag)), STALE);
    assert.deepEqual(await rows(), before);
    assert.equal((await upsert(batch(second!.etag))).created, 1);
  });

  it('takes an etag as a claim that the course is there', async () => {
    const courseId = newCourse();
    await refused(upsert([{ courseId, etag: '1.1' }]), STALE);
    assert.equal(await rowOf(backend.database, courseId), undefined);
    const [course] = (await upsert([{ courseId }])).courses;
    await backend.courses.deleteCourse({ courseId });
    await refused(upsert([{ courseId, etag: course!.etag }]), STALE);
    await upsert([{ courseId }]);
    await refused(upsert([{ courseId, etag: course!.etag }]), STALE);
  });

  it('lets exactly one of many win that come with the same etag', async () => {
    const courseId = newCourse();
    const { etag } = (await upsert([{ courseId }])).courses[0]!;
    const calls = Array.from({ length: 20 }, (_, i) => upsert([{ courseId, ...at(BigInt(i + 1)), etag }]));
    assert.equal(await winners(calls, STALE), 1);
    assert.equal((await rowOf(backend.database, courseId))!['revision'], 2);
  });

  it('lets batches that share courses wait for each other, in whatever order they come', async () => {
    for (let round = 0; round < 5; round++) {
      const ids = newCourses(200);
      const orders = [ids, ids.toReversed(), ids.toSorted(), ids.slice(50), ids.slice(0, 150).reverse()];
      const answers = await Promise.all(
        orders.map((order, i) =>
          on(
            i,
            order.map(courseId => ({ courseId, ...at(BigInt(i + 1)) })),
          ),
        ),
      );
      assert.equal(
        answers.reduce((sum, { created }) => sum + created, 0),
        200,
        'each course is new once',
      );
    }
  });

  it('lets them wait for each other also when some rows are claimed by etag', async () => {
    for (let round = 0; round < 5; round++) {
      const ids = newCourses(200);
      const last = (await upsert([{ courseId: ids.toSorted((a, b) => Number(a - b)).at(-1)! }])).courses[0]!;
      const claiming = ids.map(courseId => ({ courseId, ...(courseId === last.courseId && { etag: last.etag }) }));
      const others = ids.toReversed().map(courseId => ({ courseId, ...at(5n) }));
      const [claimed] = await Promise.allSettled([on(0, claiming), ...[1, 2, 3].map(i => on(i, others))]);
      if (claimed!.status === 'rejected') await refused(Promise.reject(claimed!.reason), STALE);
    }
  });

  const on = (i: number, courses: Upsert[]) => backend.replicas[i % 2]!.courses.upsertCourses({ courses });
});
