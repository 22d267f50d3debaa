import { strict as assert } from 'node:assert';
import pg from 'pg';
import { Outcome } from '../../../src/gen/backup/v1/controller_pb.ts';
import { CourseRunKind, CourseStatus } from '../../../src/gen/backup/v1/course_pb.ts';
import { sweep } from '../../../src/work/sweep.ts';
import { type Replica, startReplica } from '../../support/backend.ts';
import { standStill } from '../../support/clock.ts';
import { createDatabase } from '../../support/database.ts';
import { Dice } from '../../support/dice.ts';
import { wallClock } from '../../support/wall-clock.ts';
import { at, claimDue } from './automation.ts';

// `npm run simulate` takes the whole month and 5,000 courses.
const COURSES = Number(process.env['SIMULATE_COURSES'] ?? 120);
const DAYS = Number(process.env['SIMULATE_DAYS'] ?? 12);

const HOUR = 3600n;
const START = BigInt(Date.parse('2026-03-25T00:00:00Z') / 1000);
const END = START + BigInt(DAYS) * 24n * HOUR;
// For a night and more nobody is there.
const OUTAGE = { from: START + 6n * 24n * HOUR + 23n * HOUR, to: START + 8n * 24n * HOUR + 7n * HOUR };

// Europe's clocks change on 29 March, Australia's on 5 April.
const zones = ['Europe/Berlin', 'Australia/Sydney', 'America/New_York', 'Asia/Kathmandu'];
const masks = ['1111111', '0111110', '1000001', '0101010'];

describe('A time of automated backups, with workers that crash', function () {
  this.timeout(1_800_000);

  it('runs every course in every slot that it should, none twice, and starves none', async () => {
    await using database = await createDatabase();
    const clock = await standStill(database, START - 24n * HOUR);
    await using first = await startReplica(database.url, { REQUEST_RETENTION: '596h' });
    await using second = await startReplica(database.url);
    const replicas: Replica[] = [first, second];
    await using stack = new AsyncDisposableStack();
    const pool = stack.adopt(new pg.Pool({ connectionString: database.url, max: 2 }), it => it.end());
    const plans = Array.from({ length: COURSES }, (_, i) => planOf(i));
    for (let i = 0; i < COURSES; i += 1000) {
      const courses = plans.slice(i, i + 1000).map(({ courseId, timeZone, weekly }) => ({
        courseId,
        schedule: { timeZone, rule: { case: 'weekly', value: weekly } as const },
      }));
      await first.courses.upsertCourses({ courses });
    }

    // A third of the courses an hour: when many are due at the same time, they are late, and nobody is left behind.
    const perHour = Math.ceil(COURSES / 3);
    const dice = new Dice(20260329);
    let [claims, lost, latest] = [0, 0, 0n];
    const began = performance.now();
    for (let now = START - 24n * HOUR; now < END + 6n * HOUR; now += HOUR) {
      await clock.set(now);
      await sweep(pool, 0);
      const away = now >= OUTAGE.from && now < OUTAGE.to;
      for (let left = away ? 0 : perHour; left > 0; ) {
        const workers = [0, 1].map(w => ({ worker: `w${w}`, maxCourses: Math.min(200, Math.ceil(left / 2)) }));
        const claimed = await Promise.all(
          workers.map((asked, w) => claimDue(replicas[w]!, { ...asked, leaseDuration: { seconds: 1n } })),
        );
        if (claimed.every(({ length }) => length === 0)) break;
        await Promise.all(
          claimed.map(async (mine, w) => {
            // One in forty crashes with what it holds.
            const done = mine.filter(() => !dice.chance(0.025));
            lost += mine.length - done.length;
            if (done.length === 0) return;
            const { results } = await replicas[1 - w]!.controllers.finishControllers({
              finishes: done.map(({ controller, leaseToken }, n) => ({
                backupId: controller!.backupId,
                leaseToken,
                outcome: [Outcome.SUCCEEDED, Outcome.SUCCEEDED_WITH_WARNINGS, Outcome.FAILED][n % 3]!,
                reason: n % 3 === 2 ? 'the disk is full' : '',
              })),
            });
            assert.ok(results.every(({ error }) => !error));
          }),
        );
        for (const { slotTime } of claimed.flat()) {
          const late = now - slotTime!.seconds;
          if (late > latest && !(slotTime!.seconds <= OUTAGE.to && now >= OUTAGE.from)) latest = late;
        }
        claims += claimed.flat().length;
        left -= claimed.flat().length;
      }
      // The leases of those that have crashed end now.
      await clock.set(now + 3n);
      await sweep(pool, 0);
    }
    const seconds = (performance.now() - began) / 1000;

    const found = await recordsOf(first);
    const clocks = new Map(zones.map(zone => [zone, wallClock(zone, 2026)]));
    let [slots, missed] = [0, 0];
    for (const { courseId, timeZone, weekly } of plans) {
      const time = `${String(weekly.hour).padStart(2, '0')}:${String(weekly.minute).padStart(2, '0')}`;
      const expected = clocks
        .get(timeZone)!
        .dailyStarts(time)
        .filter(
          start => start >= START - 24n * HOUR && start < END && weekly.weekdays[weekdayIn(timeZone, start)] === '1',
        );
      const records = (found.get(courseId) ?? []).filter(({ slot }) => slot < END);
      assert.deepEqual(
        records.map(({ slot }) => slot),
        expected,
        `course ${courseId}: ${weekly.weekdays} ${time} ${timeZone}`,
      );
      for (const { slot, kind } of records) {
        // And until all that was late has been run.
        const excused = slot >= OUTAGE.from && slot < OUTAGE.to + 4n * HOUR;
        assert.ok(kind === CourseRunKind.RAN || (kind === CourseRunKind.MISSED && excused), `${courseId} at ${slot}`);
        if (kind === CourseRunKind.MISSED) missed++;
      }
      slots += expected.length;
    }
    const [counts] = await database.query(
      `select count(*)::int as controllers, count(distinct backupid)::int as distinct, count(*) filter (where status < 900)::int as unfinished,
         count(*) filter (where outcome = 5)::int as lost from backup_controllers`,
    );
    assert.deepEqual(counts, { controllers: claims, distinct: claims, unfinished: 0, lost });
    const { statuses } = await first.courses.summarizeCourses({});
    const stuck = [CourseStatus.UNFINISHED, CourseStatus.QUEUED, CourseStatus.NOT_YET_RUN];
    assert.ok(statuses.every(({ status, count }) => count === 0n || !stuck.includes(status as never)));
    // Of the hours that a crowd takes, none waits for longer.
    assert.ok(latest <= 8n * HOUR, `${latest} s late`);
    console.log(
      `      ${COURSES} courses, ${DAYS + 1} days: ${slots} starts = ${slots - missed} ran + ${missed} missed in the outage; ` +
        `${lost} workers lost; at most ${latest / 60n} min late; ${Math.round(claims / seconds)} runs/s`,
    );
  });
});

function planOf(i: number) {
  return {
    courseId: BigInt(i + 1),
    timeZone: zones[i % zones.length]!,
    weekly: {
      weekdays: masks[Math.floor(i / zones.length) % masks.length]!,
      hour: [0, 1, 2, 2, 2, 3, 4][Math.floor(i / 16) % 7]!,
      minute: i % 3 === 0 ? 0 : 30,
    },
  };
}

function weekdayIn(timeZone: string, instant: bigint): number {
  const name = new Intl.DateTimeFormat('en', { timeZone, weekday: 'short' }).format(Number(instant) * 1000);
  return ['Sun', 'Mon', 'Tue', 'Wed', 'Thu', 'Fri', 'Sat'].indexOf(name);
}

/** All records by course, in the order of their starts. */
async function recordsOf({ courses }: Replica): Promise<Map<bigint, { slot: bigint; kind: CourseRunKind }[]>> {
  const all = [];
  for (let pageToken = '', last = false; !last; last = pageToken === '') {
    const page = await courses.listCourseRuns({
      filter: { slots: { start: at(START - 48n * HOUR) } },
      pageSize: 1000,
      pageToken,
    });
    all.push(...page.runs.map(({ courseId, slotTime, kind }) => ({ courseId, slot: slotTime!.seconds, kind })));
    pageToken = page.nextPageToken;
  }
  return Map.groupBy(all.reverse(), ({ courseId }) => courseId);
}
