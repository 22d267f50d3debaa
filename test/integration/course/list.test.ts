import assert from 'node:assert/strict';
import type { MessageInitShape } from '@bufbuild/protobuf';
import { type CourseFilterSchema, CourseStatus } from '../../../src/gen/backup/v1/course_pb.ts';
import { type Backend, startBackend } from '../../support/backend.ts';
import { eventually } from '../../support/eventually.ts';
import { looked } from '../work/work.ts';
import { clock, insert, newCourse, newCourses, type Times } from './rows.ts';

type Filter = MessageInitShape<typeof CourseFilterSchema>;

const COLUMN: Record<keyof typeof CourseStatus, string> = {
  UNSPECIFIED: '',
  ERROR: '0',
  OK: '1',
  UNFINISHED: '2',
  SKIPPED: '3',
  WARNING: '4',
  NOT_YET_RUN: '5',
  QUEUED: '6',
};
const names = (Object.keys(COLUMN) as (keyof typeof COLUMN)[]).filter(name => COLUMN[name]);

describe('The filters of CourseService.ListCourses', () => {
  let backend: Backend;
  before(async () => {
    // Courses that say they are running, and are not, are put right otherwise.
    backend = await startBackend({ settings: { SWEEP_INTERVAL: '1h' } });
    await looked(backend.database);
  });
  after(() => backend[Symbol.asyncDispose]());

  for (const name of names) {
    it(`find ${name}, character ${COLUMN[name]} of the column`, async () => {
      const ids = Object.fromEntries(names.map(other => [other, newCourse()])) as Record<string, bigint>;
      await insert(
        backend.database,
        names.map(other => ({ courseId: ids[other]!, status: COLUMN[other] })),
      );
      assert.deepEqual(await found({ statuses: [CourseStatus[name]] }, Object.values(ids)), [ids[name]]);
      const { course } = await backend.courses.getCourse({ courseId: ids[name]! });
      assert.equal(course!.lastStatus, CourseStatus[name]);
    });
  }

  it('find any of several statuses', async () => {
    const rows = names.map(name => ({ courseId: newCourse(), status: COLUMN[name] }));
    await insert(backend.database, rows);
    const ids = rows.map(({ courseId }) => courseId);
    const some = await found({ statuses: [CourseStatus.ERROR, CourseStatus.QUEUED, CourseStatus.ERROR] }, ids);
    assert.deepEqual(new Set(some), new Set([ids[0], ids[6]]));
    assert.equal((await found({ statuses: names.map(name => CourseStatus[name]) }, ids)).length, 7);
    assert.equal((await found({}, ids)).length, 7);
  });

  it('find what is due, now included', async () => {
    await inOneSecond(async now => {
      const [never, past, justNow, soon] = await withNext([0n, now - 1000n, now, now + 1n]);
      assert.deepEqual(await found({ due: true }, [never!, past!, justNow!, soon!]), [past, justNow]);
      assert.equal((await found({ due: false }, [never!, past!, justNow!, soon!])).length, 4);
    });
  });

  it('find what is due because somebody has asked for it, whatever its start', async () => {
    const courseId = newCourse();
    await insert(backend.database, [{ courseId, status: COLUMN.OK }]);
    await backend.courses.runCourseNow({ courseId });
    assert.deepEqual(await found({ due: true }, [courseId]), [courseId]);
  });

  it('find what has been due for longer than a time', async () => {
    await inOneSecond(async now => {
      const ids = (await withNext([0n, now - 11n, now - 10n, now - 9n, now, now + 10n])) as [bigint, ...bigint[]];
      const [, eleven, ten, nine] = ids;
      assert.deepEqual(await found({ overdueBy: { seconds: 10n } }, ids), [eleven]);
      assert.deepEqual(await found({ overdueBy: { seconds: 9n, nanos: 999_999_999 } }, ids), [eleven, ten]);
      assert.deepEqual(await found({ overdueBy: { seconds: 9n } }, ids), [eleven, ten]);
      assert.deepEqual(await found({ overdueBy: { seconds: 0n } }, ids), [eleven, ten, nine]);
      assert.deepEqual(await found({ overdueBy: { seconds: 315_360_000n } }, ids), []);
    });
  });

  it('find what has never run', async () => {
    const ids = await withTimes([{ start: 0n, next: 5n }, { start: 1n }, { start: 0n, end: 7n, status: '3' }]);
    assert.deepEqual(await found({ neverRun: true }, ids), [ids[0], ids[2]]);
    assert.equal((await found({ neverRun: false }, ids)).length, 3);
  });

  it('find what fails since a time', async () => {
    const ids = await withTimes([
      { status: '0', end: 99n },
      { status: '0', end: 100n },
      { status: '0', end: 101n },
      { status: '1', end: 101n },
      { status: '2', end: 101n },
      { status: '4', end: 101n },
    ]);
    assert.deepEqual(await found({ failingSince: { seconds: 100n } }, ids), [ids[1], ids[2]]);
    assert.deepEqual(await found({ failingSince: { seconds: 100n, nanos: 1 } }, ids), [ids[2]]);
    assert.deepEqual(await found({ failingSince: { seconds: 0n } }, ids), ids.slice(0, 3));
    assert.deepEqual(await found({ failingSince: { seconds: 253_402_300_799n, nanos: 999_999_999 } }, ids), []);
  });

  it('all hold together', async () => {
    const ids = await withTimes([
      { status: '0', end: 100n, next: 50n },
      { status: '0', end: 100n, next: 50n, start: 90n },
      { status: '0', end: 100n },
      { status: '0', end: 10n, next: 50n },
      { status: '6', end: 100n, next: 50n },
    ]);
    const all = { due: true, overdueBy: { seconds: 60n }, neverRun: true, failingSince: { seconds: 50n } };
    assert.deepEqual(await found({ ...all, statuses: [CourseStatus.ERROR] }, ids), [ids[0]]);
    assert.deepEqual(await found({ ...all, statuses: [CourseStatus.OK] }, ids), []);
    assert.deepEqual(await found({ due: true, statuses: [CourseStatus.QUEUED] }, ids), [ids[4]]);
  });

  /** Those of these courses that a filter finds, in the order in which they are made. */
  async function found(filter: Filter, ids: bigint[]): Promise<bigint[]> {
    const all = new Set<bigint>();
    for (let pageToken = ''; ; ) {
      const page = await backend.courses.listCourses({ filter, pageSize: 1000, pageToken });
      for (const { courseId } of page.courses) all.add(courseId);
      pageToken = page.nextPageToken;
      if (!pageToken) return ids.filter(id => all.has(id));
    }
  }

  async function withTimes(times: Times[]): Promise<bigint[]> {
    const ids = newCourses(times.length);
    await insert(
      backend.database,
      times.map((row, i) => ({ ...row, courseId: ids[i]! })),
    );
    return ids;
  }

  const withNext = (nexts: bigint[]) => withTimes(nexts.map(next => ({ next })));

  /** Tries until the database's clock stood still for once. */
  async function inOneSecond(check: (now: bigint) => Promise<void>): Promise<void> {
    await eventually(async () => {
      const now = await clock(backend.database);
      const outcome = await check(now).then(
        () => undefined,
        (error: unknown) => ({ error }),
      );
      assert.equal(await clock(backend.database), now, 'the second has passed');
      if (outcome) throw outcome.error;
    }, 3000);
  }
});
