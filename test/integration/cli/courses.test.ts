import { strict as assert } from 'node:assert';
import { fromJsonString } from '@bufbuild/protobuf';
import { parse } from 'yaml';
import { Outcome } from '../../../src/gen/backup/v1/controller_pb.ts';
import {
  CourseSchema,
  CourseStatus,
  CourseView,
  ListCoursesResponseSchema,
} from '../../../src/gen/backup/v1/course_pb.ts';
import { LogLevel } from '../../../src/gen/backup/v1/entry_pb.ts';
import { type Backend, startBackend } from '../../support/backend.ts';
import { backupctl } from '../../support/backupctl.ts';

describe('backupctl courses', () => {
  // A process for every command, and several processors' worth of other tests beside it.
  let backend: Backend;
  const run = (args: string[], env = {}) =>
    backupctl(['courses', ...args], { BACKUPCTL_ADDRESS: backend.address, ...env });

  before(async () => {
    backend = await startBackend();
    await prepare(backend);
  });
  after(() => backend[Symbol.asyncDispose]());

  it('report shows every course with its last run, what failed first and then what is late, the oldest first', async () => {
    const { code, stdout, stderr } = await run(['report', '--times', 'iso']);
    assert.equal(stderr, '');
    assert.equal(code, 0);
    // How late it is depends on when this runs.
    assert.deepEqual(stdout.replace(/due \d+d( \d+h)?/, 'due LATE').split('\n'), [
      'COURSE  STATUS       LAST START            DURATION  ERRORS  WARNINGS  NEXT START',
      '    11  ERROR        2026-01-02T02:30:00Z     4m 5s       -         -  2099-01-01T00:00:00Z',
      '    14  ERROR        2026-02-02T02:30:00Z    1h 10m       2         1  2099-01-01T00:00:00Z',
      '    12  OK           2026-01-01T00:00:00Z       30s       -         -  2026-01-03T00:00:00Z due LATE',
      '    13  WARNING      2026-01-02T02:30:00Z        0s       -         -  -',
      '    10  NOT YET RUN  -                            -       -         -  2098-01-01T00:00:00Z',
      '',
      '5 courses: 2 ERROR, 1 WARNING, 1 OK, 1 due',
      '',
    ]);
  });

  it('report has all pages, and as JSON and YAML the same courses as the service', async () => {
    await using many = await startBackend();
    const ids = Array.from({ length: 2345 }, (_, i) => BigInt(i + 1));
    for (let i = 0; i < ids.length; i += 1000) {
      await many.courses.upsertCourses({ courses: ids.slice(i, i + 1000).map(courseId => ({ courseId })) });
    }
    const env = { BACKUPCTL_ADDRESS: many.address };
    const { stdout } = await backupctl(['courses', 'report', '-o', 'json'], env);
    const { courses } = fromJsonString(ListCoursesResponseSchema, stdout);
    assert.deepEqual(
      courses.map(({ courseId }) => courseId).toSorted((a, b) => Number(a - b)),
      ids,
    );
    const limited = await backupctl(
      ['courses', 'report', '-o', 'yaml', '--limit', '1001', '--order', 'next-start'],
      env,
    );
    assert.equal(parse(limited.stdout).courses.length, 1001);
    const table = await backupctl(['courses', 'report'], env);
    assert.match(table.stdout, /\n2345 courses: 0 due\n$/);
  });

  it('report gives JSON that the service would have given', async () => {
    const { stdout } = await run(['report', '--output', 'json', '--order', 'next-start']);
    const { courses } = await backend.courses.listCourses({ view: CourseView.REPORT, order: 1 });
    assert.deepEqual(fromJsonString(ListCoursesResponseSchema, stdout).courses, courses);
  });

  it('report and due take filters', async () => {
    const listed = async (...args: string[]) => {
      const { stdout, stderr } = await run([...args, '-o', 'json']);
      assert.equal(stderr, '');
      return JSON.parse(stdout).courses.map(({ courseId }: { courseId: string }) => courseId);
    };
    assert.deepEqual(await listed('report', '--status', 'error,warning'), ['11', '14', '13']);
    assert.deepEqual(await listed('report', '--status', 'NOT_YET_RUN'), ['10']);
    assert.deepEqual(await listed('report', '--failing-since', '2026-02-01'), ['14']);
    assert.deepEqual(await listed('report', '--never-run'), ['10']);
    assert.deepEqual(await listed('report', '--overdue', '10d'), ['12']);
    assert.deepEqual(await listed('report', '--order', 'last-start', '--limit', '2'), ['14', '11']);
    assert.deepEqual(await listed('due'), ['12']);
    assert.deepEqual(await listed('due', '--overdue', '3650d'), []);
  });

  it('get shows one course and its last starts', async () => {
    const { stdout } = await run(['get', '14', '--times', 'iso']);
    assert.match(
      stdout,
      /^course {6}14\nstatus {6}ERROR\nlast start {2}2026-02-02T02:30:00Z\nlast end {4}2026-02-02T03:40:00Z\n/,
    );
    assert.match(stdout, /schedule {4}0111110 02:30 Europe\/Berlin\n/);
    assert.match(
      stdout,
      /\nSTART +WHAT +OUTCOME +DURATION +BACKUP ID \/ REASON\n\S+ +RAN +FAILED +\S+ +[0-9a-f]{32}\n$/,
    );
  });

  it('run asks for backups, one after the other until one is refused', async () => {
    await backend.courses.upsertCourses({ courses: [{ courseId: 20n }, { courseId: 21n }, { courseId: 22n }] });
    await backend.courses.runCourseNow({ courseId: 21n });
    const { claimed } = await backend.courses.claimDueCourses({ worker: 'w', maxCourses: 100 });
    assert.ok(claimed.some(({ course }) => course!.courseId === 21n));
    const { code, stdout, stderr } = await run(['run', '20', '21', '22']);
    assert.equal(stdout, 'course 20: QUEUED\n');
    assert.match(stderr, /^error: FAILED_PRECONDITION \(COURSE_RUNNING\): .*course 21 /);
    assert.equal(code, 4);
    const { course } = await backend.courses.getCourse({ courseId: 22n });
    assert.equal(course!.lastStatus, CourseStatus.NOT_YET_RUN);
  });

  it('skip leaves a start out, with its reason and a next start', async () => {
    await backend.courses.upsertCourses({ courses: [{ courseId: 30n, nextStartTime: { seconds: 4_000_000_000n } }] });
    const args = ['skip', '30', '--reason', 'exam week', '--next-start', '2099-05-01T10:00', '-o', 'json'];
    const { stdout, stderr } = await run(args, { TZ: 'Europe/Berlin' });
    assert.equal(stderr, '');
    const course = fromJsonString(CourseSchema, stdout);
    assert.equal(course.lastStatus, CourseStatus.SKIPPED);
    assert.equal(course.nextStartTime!.seconds, BigInt(Date.parse('2099-05-01T08:00:00Z') / 1000));
    const { runs } = await backend.courses.listCourseRuns({ filter: { courseId: 30n } });
    assert.equal(runs[0]!.reason, 'exam week');
  });

  it('schedule gives a schedule, which a next start leaves as it is, and takes it away again', async () => {
    const given = await run(['schedule', '40', '--weekly', '0111110 02:30 Europe/Berlin', '--times', 'iso']);
    assert.match(given.stdout, /^course 40 \(new\): schedule 0111110 02:30 Europe\/Berlin, next start \S+Z\n$/);
    const moved = await run(['schedule', '40', '--next-start', '2099-05-01T10:00Z', '--times', 'iso']);
    assert.equal(moved.stdout, 'course 40: schedule 0111110 02:30 Europe/Berlin, next start 2099-05-01T10:00:00Z\n');
    const cron = await run(['schedule', '40', '--cron', '30 2 1 * * Asia/Tokyo', '--times', 'iso']);
    assert.match(cron.stdout, /schedule cron 30 2 1 \* \* Asia\/Tokyo, next start \S+T17:30:00Z\n$/);
    const none = await run(['schedule', '40', '--default']);
    assert.equal(none.stdout, "course 40: schedule the service's, no next start\n");
    const preview = await run(['schedule', '41', '--cron', '0 12 * * * UTC', '--preview', '2', '--times', 'iso']);
    assert.match(preview.stdout, /^\S+T12:00:00Z\n\S+T12:00:00Z\n$/);
    assert.equal((await run(['get', '41'])).code, 3);
    const wrong = await run(['schedule', '40', '--weekly', '0111110 02:30 Nowhere/Berlin']);
    assert.equal(wrong.code, 2);
    assert.match(wrong.stderr, /INVALID_ARGUMENT \(INVALID_FIELD\): courses\[0\]\.schedule\.time_zone: must be a zone/);
  });
});

/** Courses whose times are known, and one that failed in a run of its own. */
async function prepare({ courses, controllers, logs, database }: Backend): Promise<void> {
  const berlin = {
    timeZone: 'Europe/Berlin',
    rule: { case: 'weekly', value: { weekdays: '0111110', hour: 2, minute: 30 } },
  } as const;
  await courses.upsertCourses({ courses: [10n, 11n, 12n, 13n].map(courseId => ({ courseId })) });
  await courses.upsertCourses({ courses: [{ courseId: 14n, schedule: berlin }] });
  await courses.runCourseNow({ courseId: 14n });
  const { claimed } = await courses.claimDueCourses({ worker: 'night-shift' });
  const { controller, leaseToken } = claimed[0]!;
  const { backupId } = controller!;
  const entry = (level: LogLevel) => ({ level, message: 'x' });
  const entries = [LogLevel.ERROR, LogLevel.WARNING, LogLevel.INFO].map(entry);
  await logs.appendLogs({ backupId, leaseToken, entries });
  // Its reason is one more error.
  const finish = { backupId, leaseToken, outcome: Outcome.FAILED, reason: 'the disk is full' };
  await controllers.finishControllers({ finishes: [finish] });
  const at = (time: string) => Date.parse(time) / 1000;
  const set = async (course: number, status: string, start: number, end: number, next: number) => {
    await database.query(
      'update backup_courses set laststatus = $2, laststarttime = $3, lastendtime = $4, nextstarttime = $5 where courseid = $1',
      [course, status, start, end, next],
    );
  };
  const [january, far] = [at('2026-01-02T02:30:00Z'), at('2099-01-01T00:00:00Z')];
  await set(10, '5', 0, 0, at('2098-01-01T00:00:00Z'));
  await set(11, '0', january, january + 245, far);
  await set(12, '1', at('2026-01-01T00:00:00Z'), at('2026-01-01T00:00:30Z'), at('2026-01-03T00:00:00Z'));
  await set(13, '4', january, january, 0);
  await set(14, '0', at('2026-02-02T02:30:00Z'), at('2026-02-02T03:40:00Z'), far);
  await database.query('update backup_controllers set startedat = $2, endedat = $3 where backupid = $1', [
    backupId,
    at('2026-02-02T02:30:00Z'),
    at('2026-02-02T03:40:00Z'),
  ]);
}
