import { strict as assert } from 'node:assert';
import { Outcome } from '../../../src/gen/backup/v1/controller_pb.ts';
import { type Replica, startReplica } from '../../support/backend.ts';
import { type Clock, standStill } from '../../support/clock.ts';
import { createDatabase, type Database } from '../../support/database.ts';
import { refused } from '../../support/status.ts';
import { at, claimDue, claimOne, course, finish, get, standing, told } from './automation.ts';

const utc = (text: string) => BigInt(Date.parse(`${text}Z`) / 1000);
const daily = (hour: number, timeZone = 'UTC') => ({
  timeZone,
  rule: { case: 'weekly', value: { weekdays: '1111111', hour, minute: 0 } } as const,
});
const next = (schedule: object) => ({ next: { case: 'schedule', value: schedule } }) as const;

const MONDAY = utc('2026-11-23T00:00:00');
const HOUR = 3600n;
const DAY = 86_400n;

describe('The starts of a course', () => {
  let database: Database;
  let clock: Clock;
  let replica: Replica;
  const start = async (settings: Record<string, string> = {}) => {
    replica = await startReplica(database.url, settings);
  };
  beforeEach(async () => {
    database = await createDatabase();
    clock = await standStill(database, MONDAY);
  });
  afterEach(async () => {
    await replica[Symbol.asyncDispose]();
    await database[Symbol.asyncDispose]();
  });

  const nextOf = async (courseId: bigint) => (await get(replica, courseId)).nextStartTime?.seconds ?? 0n;
  const ran = (slot: bigint, outcome = 'SUCCEEDED') => `${slot} RAN ${outcome}`;
  const missed = (slot: bigint) => `${slot} MISSED: the run before it was late or took too long`;

  it('come from its own schedule, before that of the service', async () => {
    await start({ COURSE_SCHEDULE: '1111111 05:00 UTC' });
    const own = await course(replica, { schedule: daily(2) });
    const general = await course(replica, {});
    assert.deepEqual([await nextOf(own), await nextOf(general)], [MONDAY + 2n * HOUR, MONDAY + 5n * HOUR]);
    await clock.set(MONDAY + 6n * HOUR);
    for (const run of await claimDue(replica)) await finish(replica, run);
    assert.deepEqual([await nextOf(own), await nextOf(general)], [MONDAY + DAY + 2n * HOUR, MONDAY + DAY + 5n * HOUR]);
    assert.deepEqual(await told(replica, own), [ran(MONDAY + 2n * HOUR)]);
  });

  it('come from what the worker gives, before any schedule', async () => {
    await start({ COURSE_SCHEDULE: '1111111 05:00 UTC' });
    const ids = [await course(replica, { schedule: daily(2) }), await course(replica, {})];
    await clock.set(MONDAY + 6n * HOUR);
    const [first, second] = await claimDue(replica);
    await finish(replica, first!, { nextStart: { next: { case: 'time', value: at(MONDAY + 7n * HOUR) } } });
    await finish(replica, second!, { nextStart: next(daily(9)) });
    assert.deepEqual([await nextOf(ids[0]!), await nextOf(ids[1]!)], [MONDAY + 7n * HOUR, MONDAY + 9n * HOUR]);
  });

  it('are never without any schedule, unless one was set that has not come yet', async () => {
    await start();
    const [once, later] = [await course(replica, { nextStartTime: at(MONDAY) }), await course(replica, {})];
    await replica.courses.runCourseNow({ courseId: later });
    await replica.courses.upsertCourses({ courses: [{ courseId: later, nextStartTime: at(MONDAY + DAY) }] });
    for (const run of await claimDue(replica)) await finish(replica, run);
    assert.deepEqual([await nextOf(once), await nextOf(later)], [0n, MONDAY + DAY]);
    assert.deepEqual(await claimDue(replica), []);
  });

  it('count when they are equal to now, and are not run twice when the run ends in the same second', async () => {
    await start();
    const courseId = await course(replica, { schedule: daily(0) });
    assert.equal(await nextOf(courseId), MONDAY);
    await finish(replica, await claimOne(replica, courseId));
    assert.deepEqual(await standing(replica, courseId), ['OK', MONDAY, MONDAY, MONDAY + DAY]);
    assert.deepEqual(await claimDue(replica), []);
    assert.deepEqual(await told(replica, courseId), [ran(MONDAY)]);
  });

  it('show the coming one while a run goes on', async () => {
    await start();
    const courseId = await course(replica, { schedule: daily(0) });
    await claimOne(replica, courseId);
    assert.equal(await nextOf(courseId), MONDAY + DAY);
  });

  it('are missed while a run goes on, or nobody is there, and each is recorded once', async () => {
    await start();
    const courseId = await course(replica, { schedule: daily(0) });
    await clock.set(MONDAY + 2n * DAY + HOUR);
    const late = await claimOne(replica, courseId);
    assert.equal(late.slotTime!.seconds, MONDAY);
    await clock.set(MONDAY + 3n * DAY + HOUR);
    await finish(replica, late, { outcome: Outcome.SUCCEEDED });
    assert.deepEqual(await told(replica, courseId), [
      ran(MONDAY),
      ...[1n, 2n, 3n].map(days => missed(MONDAY + days * DAY)),
    ]);
    assert.equal(await nextOf(courseId), MONDAY + 4n * DAY);
  });

  it('are all recorded up to a thousand, the latest ones', async () => {
    await start();
    const everyMinute = { timeZone: 'UTC', rule: { case: 'cron', value: '* * * * *' } as const };
    const courseId = await course(replica, { schedule: everyMinute });
    const run = await claimOne(replica, courseId);
    await clock.set(MONDAY + 10n * DAY);
    await finish(replica, run);
    const { runs } = await replica.courses.listCourseRuns({ filter: { courseId }, pageSize: 1000 });
    assert.equal(runs.length, 1000);
    assert.equal(runs[0]!.slotTime!.seconds, MONDAY + 10n * DAY - 60n, 'that of now is the next one');
    assert.equal(await nextOf(courseId), MONDAY + 10n * DAY);
  });

  for (const [change, zone, night, starts] of [
    ['forward', 'Europe/Berlin', '2026-03-28', ['2026-03-28T01:30:00', '2026-03-29T01:00:00', '2026-03-30T00:30:00']],
    ['back', 'Europe/Berlin', '2026-10-24', ['2026-10-24T00:30:00', '2026-10-25T00:30:00', '2026-10-26T01:30:00']],
  ] as const) {
    it(`are one a day when the clock is put ${change}`, async () => {
      await clock.set(utc(`${night}T00:00:00`));
      await start({ COURSE_SCHEDULE: `1111111 02:30 ${zone}` });
      const courseId = await course(replica, {});
      const slots = [];
      for (let minute = 0n; minute < 72n * 60n; minute += 30n) {
        await clock.set(utc(`${night}T00:00:00`) + minute * 60n);
        for (const run of await claimDue(replica)) {
          slots.push(run.slotTime!.seconds);
          await finish(replica, run);
        }
      }
      assert.deepEqual(slots, starts.map(utc));
      assert.deepEqual(
        await told(replica, courseId),
        starts.map(text => ran(utc(text))),
      );
    });
  }

  describe('left out by SkipCourse', () => {
    it('are the one that is due, or else the coming one', async () => {
      await start();
      const [due, coming] = [
        await course(replica, { schedule: daily(0) }),
        await course(replica, { schedule: daily(8) }),
      ];
      for (const courseId of [due, coming])
        await replica.courses.skipCourse({ courseId, reason: 'nothing has changed' });
      assert.deepEqual(await standing(replica, due), ['SKIPPED', 0n, 0n, MONDAY + DAY]);
      assert.deepEqual(await standing(replica, coming), ['SKIPPED', 0n, 0n, MONDAY + DAY + 8n * HOUR]);
      assert.deepEqual(await told(replica, due), [`${MONDAY} SKIPPED: nothing has changed`]);
      assert.deepEqual(await told(replica, coming), [`${MONDAY + 8n * HOUR} SKIPPED: nothing has changed`]);
    });

    it('leave start and end of the last run as they are, and the next start to whoever gives it', async () => {
      await start();
      const courseId = await course(replica, { schedule: daily(0) });
      await finish(replica, await claimOne(replica, courseId));
      const nextStart = { next: { case: 'time', value: at(MONDAY + 9n) } } as const;
      await replica.courses.skipCourse({ courseId, reason: 'hidden', nextStart });
      assert.deepEqual(await standing(replica, courseId), ['SKIPPED', MONDAY, MONDAY, MONDAY + 9n]);
    });

    it('are refused while a run goes on, with a stale etag and for no course', async () => {
      await start();
      const courseId = await course(replica, { schedule: daily(0) });
      const { etag } = await get(replica, courseId);
      await claimOne(replica, courseId);
      const { info } = await refused(replica.courses.skipCourse({ courseId, reason: 'x' }), {
        code: 'FAILED_PRECONDITION',
        reason: 'COURSE_RUNNING',
      });
      assert.equal(info!.metadata['backup_id'], (await get(replica, courseId)).backupId);
      const stale = { code: 'ABORTED', reason: 'ETAG_MISMATCH' } as const;
      await refused(replica.courses.skipCourse({ courseId, reason: 'x', etag }), stale);
      await refused(replica.courses.runCourseNow({ courseId, etag }), stale);
      const none = { code: 'NOT_FOUND', reason: 'COURSE_NOT_FOUND' } as const;
      await refused(replica.courses.skipCourse({ courseId: 999n, reason: 'x' }), none);
      await refused(replica.courses.runCourseNow({ courseId: 999n }), none);
    });
  });

  describe('asked for by RunCourseNow', () => {
    it('make the course QUEUED and claimable at once, and leave its schedule alone', async () => {
      await start();
      const courseId = await course(replica, { schedule: daily(8) });
      await replica.courses.runCourseNow({ courseId });
      const asked = await get(replica, courseId);
      assert.deepEqual(await standing(replica, courseId), ['QUEUED', 0n, 0n, MONDAY + 8n * HOUR]);
      await clock.set(MONDAY + 60n);
      assert.deepEqual(
        (await replica.courses.runCourseNow({ courseId })).course,
        asked,
        'asking again changes nothing',
      );
      await finish(replica, await claimOne(replica, courseId));
      assert.deepEqual(await standing(replica, courseId), ['OK', MONDAY + 60n, MONDAY + 60n, MONDAY + 8n * HOUR]);
      assert.deepEqual(await told(replica, courseId), [ran(MONDAY)]);
    });

    it('are the start that is due, if one is', async () => {
      await start();
      const courseId = await course(replica, { schedule: daily(8) });
      await replica.courses.runCourseNow({ courseId });
      await clock.set(MONDAY + 9n * HOUR);
      await finish(replica, await claimOne(replica, courseId));
      assert.deepEqual(await told(replica, courseId), [ran(MONDAY + 8n * HOUR)]);
    });

    it('have a record each, also in the same second', async () => {
      await start();
      const courseId = await course(replica, {});
      for (let i = 0; i < 3; i++) {
        await replica.courses.runCourseNow({ courseId });
        await finish(replica, await claimOne(replica, courseId));
      }
      assert.deepEqual(
        await told(replica, courseId),
        [0n, 1n, 2n].map(second => ran(MONDAY + second)),
      );
    });
  });

  describe('set by UpsertCourses', () => {
    it('stay as they are when all courses are sent again, also those that are due', async () => {
      await start({ COURSE_SCHEDULE: '1111111 00:00 UTC' });
      const ids = [await course(replica, { schedule: daily(0) }), await course(replica, {})];
      await clock.set(MONDAY + HOUR);
      await replica.courses.upsertCourses({
        courses: [{ courseId: ids[0]!, schedule: daily(0) }, { courseId: ids[1]! }],
      });
      assert.deepEqual(await Promise.all(ids.map(nextOf)), [MONDAY, MONDAY]);
      for (const courseId of ids) assert.deepEqual(await told(replica, courseId), []);
    });

    it('are new with a new schedule, and one that was due then is recorded as missed', async () => {
      await start();
      const courseId = await course(replica, { schedule: daily(0) });
      await clock.set(MONDAY + DAY + HOUR);
      await replica.courses.upsertCourses({ courses: [{ courseId, schedule: daily(5) }] });
      assert.equal(await nextOf(courseId), MONDAY + DAY + 5n * HOUR);
      assert.deepEqual(await told(replica, courseId), [
        `${MONDAY} MISSED: it was due when another start was set`,
        missed(MONDAY + DAY),
      ]);
      const { timeZone, rule } = (await get(replica, courseId)).schedule!;
      const { hour } = rule.value as { hour: number };
      assert.deepEqual([timeZone, rule.case, hour], ['UTC', 'weekly', 5]);
    });

    it('are refused when the schedule cannot be, with the path of what is wrong', async () => {
      await start();
      const weekly = daily(1).rule;
      const refuse = (schedule: object, field: string) =>
        refused(replica.courses.upsertCourses({ courses: [{ courseId: 7n }, { courseId: 8n, schedule }] }), {
          code: 'INVALID_ARGUMENT',
          reason: 'INVALID_FIELD',
          field: `courses[1].schedule.${field}`,
        });
      await refuse({ timeZone: 'Mars/Base', rule: weekly }, 'time_zone');
      await refuse({ timeZone: '+02:00', rule: weekly }, 'time_zone');
      await refuse({ timeZone: 'UTC', rule: { case: 'cron', value: '61 * * * *' } }, 'cron');
      await refuse({ timeZone: 'UTC', rule: { case: 'cron', value: '0 0 1 1 * 2030' } }, 'cron');
    });
  });
});
