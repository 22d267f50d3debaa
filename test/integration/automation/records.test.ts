import { strict as assert } from 'node:assert';
import pg from 'pg';
import { nameOf } from '../../../examples/tail.ts';
import { forgetRuns } from '../../../src/course/forget.ts';
import { Outcome } from '../../../src/gen/backup/v1/controller_pb.ts';
import { CourseRunKind, CourseStatus, CourseView } from '../../../src/gen/backup/v1/course_pb.ts';
import { type Backend, startBackend, startReplica } from '../../support/backend.ts';
import { eventually } from '../../support/eventually.ts';
import { refused } from '../../support/status.ts';
import { looked } from '../work/work.ts';
import { at, claimDue, course, finish } from './automation.ts';

describe('CourseService.ListCourseRuns', () => {
  let backend: Backend;
  before(async () => {
    backend = await startBackend({ settings: { COURSE_RUN_RETENTION: 'off' } });
    await backend.database.query(
      `insert into backup_course_runs (courseid, slot, kind, reason, created_at)
       select 1 + i % 3, 1000 + i / 2, 1 + i % 3, 'r' || i, 100 + i from generate_series(0, 29) i on conflict do nothing`,
    );
  });
  after(() => backend[Symbol.asyncDispose]());

  const keys = async (filter: object, pageSize = 1000, pageToken = '') => {
    const { runs, nextPageToken } = await backend.courses.listCourseRuns({ filter, pageSize, pageToken });
    return { keys: runs.map(({ slotTime, courseId }) => [slotTime!.seconds, courseId] as const), nextPageToken };
  };

  it('gives the latest start first, page by page, each record once', async () => {
    const all = (await keys({})).keys;
    assert.equal(all.length, 30);
    assert.deepEqual(
      all,
      all.toSorted((a, b) => Number(b[0] - a[0]) || Number(b[1] - a[1])),
    );
    const paged = [];
    for (let token = '', last = false; !last; last = token === '') {
      const page = await keys({}, 7, token);
      paged.push(...page.keys);
      token = page.nextPageToken;
    }
    assert.deepEqual(paged, all);
    const { nextPageToken } = await keys({}, 7);
    await refused(keys({ courseId: 1n }, 7, nextPageToken), { code: 'INVALID_ARGUMENT', reason: 'PAGE_TOKEN_INVALID' });
  });

  it('finds those of a course, of a kind and of a window, closed at its start and open at its end', async () => {
    const all = (await keys({})).keys;
    assert.deepEqual(
      (await keys({ courseId: 2n })).keys,
      all.filter(([, id]) => id === 2n),
    );
    assert.deepEqual(
      (await keys({ kinds: [CourseRunKind.SKIPPED] })).keys,
      all.filter(([, id]) => id === 2n),
    );
    assert.deepEqual(
      (await keys({ slots: { start: at(1003n), end: at(1005n) } })).keys,
      all.filter(([slot]) => slot >= 1003n && slot < 1005n),
    );
    assert.deepEqual((await keys({ courseId: 99n })).keys, []);
  });

  it('forgets those that were written too long ago, and no others', async () => {
    const pool = new pg.Pool({ connectionString: backend.database.url, max: 1 });
    const stays = { courseId: await course(backend), slot: 1n };
    await backend.database.query('insert into backup_course_runs (courseid, slot, kind) values ($1, 1, 2)', [
      stays.courseId,
    ]);
    assert.equal((await keys({})).keys.length, 31, 'switched off, the service keeps all');
    assert.equal(await forgetRuns(pool, 3600, new AbortController().signal), 30);
    assert.deepEqual((await keys({})).keys, [[1n, stays.courseId]]);
    await pool.end();
  });

  it('is kept short by the service itself', async () => {
    await backend.database.query(
      'insert into backup_course_runs (courseid, slot, kind, created_at) values (7, 1, 2, 1)',
    );
    await using _other = await startReplica(backend.database.url, { COURSE_RUN_RETENTION: '1d' });
    await eventually(async () => assert.deepEqual((await keys({ courseId: 7n })).keys, []));
  });
});

describe('CourseService.SummarizeCourses', () => {
  it('counts all seven statuses, what is due and since when, and the last success', async () => {
    await using backend = await startBackend({ settings: { SWEEP_INTERVAL: '1h' } });
    await looked(backend.database);
    const empty = await backend.courses.summarizeCourses({});
    assert.deepEqual(
      [empty.total, empty.due, empty.oldestDueTime, empty.lastSuccessTime, empty.statuses.map(({ count }) => count)],
      [0n, 0n, undefined, undefined, Array(7).fill(0n)],
    );
    await backend.database.query(
      `insert into backup_courses (courseid, laststatus, nextstarttime, lastendtime, queuedfor) values
         (1, '0', 2000, 9000, 0), (2, '1', 4000000000, 7000, 0), (3, '2', 1000, 9500, 0), (4, '4', 0, 8000, 0), (5, '6', 0, 0, 1500),
         (6, '6', 0, 0, 4000000000), (7, '5', 3000, 0, 0)`,
    );
    const summary = await backend.courses.summarizeCourses({});
    const counts = Object.fromEntries(
      summary.statuses.map(({ status, count }) => [nameOf(CourseStatus, status), Number(count)]),
    );
    assert.deepEqual(counts, { OK: 1, UNFINISHED: 1, SKIPPED: 0, WARNING: 1, NOT_YET_RUN: 1, QUEUED: 2, ERROR: 1 });
    assert.deepEqual(
      [summary.total, summary.due, summary.oldestDueTime?.seconds, summary.lastSuccessTime?.seconds],
      [7n, 3n, 1500n, 8000n],
    );
    const { total, due } = await backend.courses.summarizeCourses({ filter: { statuses: [CourseStatus.ERROR] } });
    assert.deepEqual([total, due], [1n, 1n]);
  });
});

describe('CourseService.NextStartTimes', () => {
  it('says when a schedule starts, that of the service when none is given, from now on when no time is', async () => {
    await using backend = await startBackend({ settings: { COURSE_SCHEDULE: '1111111 02:30 UTC' } });
    const from = at(1_795_000_000n);
    const { startTimes } = await backend.courses.nextStartTimes({ from, count: 3 });
    assert.deepEqual(
      startTimes.map(({ seconds }) => seconds % 86_400n),
      Array(3).fill(9000n),
    );
    const [next, ...more] = (await backend.courses.nextStartTimes({})).startTimes;
    assert.ok(next!.seconds >= BigInt(Math.floor(Date.now() / 1000)) - 1n && more.length === 0);
    const schedule = { timeZone: 'UTC', rule: { case: 'cron', value: '* * * * *' } } as const;
    const whole = { seconds: 1_795_000_020n };
    assert.equal(
      (await backend.courses.nextStartTimes({ schedule, from: whole })).startTimes[0]!.seconds,
      whole.seconds,
    );
    const late = { ...whole, nanos: 1 };
    assert.equal(
      (await backend.courses.nextStartTimes({ schedule, from: late })).startTimes[0]!.seconds,
      whole.seconds + 60n,
      'a fraction later it has begun',
    );
  });

  it('refuses a schedule that cannot be, and none where the service has none', async () => {
    await using backend = await startBackend();
    const refuse = (schedule: object | undefined, field: string) =>
      refused(backend.courses.nextStartTimes(schedule ? { schedule } : {}), {
        code: 'INVALID_ARGUMENT',
        reason: 'INVALID_FIELD',
        field,
      });
    await refuse(undefined, 'schedule');
    await refuse({ timeZone: 'Mars/Base', rule: { case: 'cron', value: '* * * * *' } }, 'schedule.time_zone');
    await refuse({ timeZone: 'UTC', rule: { case: 'cron', value: '99 * * * *' } }, 'schedule.cron');
  });
});

describe('CourseService.ListCourses in the view REPORT', () => {
  it('tells of every course its last automated controller and how much that one logged', async () => {
    await using backend = await startBackend();
    const ran = [];
    for (let i = 0; i < 20; i++) ran.push(await course(backend));
    const runs = await claimDue(backend);
    for (const run of runs) {
      await backend.logs.appendLogs({ backupId: run.controller!.backupId, entries: [{ level: 30, message: 'x' }] });
      await finish(backend, run, { outcome: Outcome.SUCCEEDED_WITH_WARNINGS });
    }
    const [imported, never] = [await course(backend, {}), await course(backend, {})];
    await backend.database.query(
      `insert into backup_controllers (backupid, type, itemid, format, interactive, purpose, userid, status, execution, created_at)
       select md5(i::text), 'course', $1, 'moodle2', 0, case i when 3 then 10 else 50 end, 1, 1000, 1, i from generate_series(1, 3) i`,
      [imported],
    );
    const { courses } = await backend.courses.listCourses({ view: CourseView.REPORT, pageSize: 1000 });
    const reportOf = (courseId: bigint) => courses.find(one => one.courseId === courseId)!.report;
    for (const run of runs) {
      const report = reportOf(run.course!.courseId)!;
      assert.equal(report.controller!.backupId, run.controller!.backupId);
      assert.deepEqual(
        report.logCounts.map(({ level, count }) => [level, count]),
        [[30, 1n]],
      );
    }
    assert.equal(reportOf(imported)!.controller!.createTime!.seconds, 2n, 'the newest automated one');
    assert.deepEqual([reportOf(imported)!.duration, reportOf(imported)!.logCounts], [undefined, []]);
    assert.equal(reportOf(never), undefined);
    const basic = await backend.courses.listCourses({ pageSize: 1000 });
    assert.ok(basic.courses.every(({ report }) => report === undefined));
  });
});
