import { strict as assert } from 'node:assert';
import fc from 'fast-check';
import {
  formatSchedule,
  nextStarts,
  parseSchedule,
  type Schedule,
  ScheduleError,
  startsBetween,
} from '../../src/course/schedule.ts';
import { wallClock } from '../support/wall-clock.ts';

const DAY = 86_400n;
const utc = (text: string) => BigInt(Date.parse(text) / 1000);
const iso = (seconds: bigint) => new Date(Number(seconds) * 1000).toISOString().replace('.000', '');

// Both hemispheres; changes by two hours, one and a half, at midnight, of the date, and none.
const zones: [zone: string, year: number][] = [
  ['Europe/Berlin', 2026],
  ['Europe/Dublin', 2026],
  ['America/New_York', 2026],
  ['America/St_Johns', 2006],
  ['America/Sao_Paulo', 2017],
  ['America/Santiago', 2026],
  ['Asia/Beirut', 2026],
  ['Africa/Cairo', 2026],
  ['Africa/Casablanca', 2026],
  ['Asia/Tehran', 2021],
  ['Asia/Kathmandu', 2026],
  ['Australia/Lord_Howe', 2026],
  ['Australia/Sydney', 2026],
  ['Pacific/Auckland', 2026],
  ['Pacific/Apia', 2011],
  ['Antarctica/Troll', 2026],
];
const times = ['00:00', '00:01', '00:30', '01:30', '02:00', '02:15', '02:30', '02:59', '03:00', '12:00', '23:59'];

describe('The starts of a schedule', () => {
  for (const [zone, year] of zones) {
    it(`come once every local day in ${zone}, as its wall clocks say, throughout ${year}`, () => {
      const clock = wallClock(zone, year);
      for (const time of times) {
        const expected = clock.dailyStarts(time).filter(start => start > clock.from);
        const found = startsBetween(parseSchedule(`1111111 ${time} ${zone}`), clock.from, clock.to, 1000);
        assert.deepEqual(found.map(iso), expected.filter(start => start < clock.to).map(iso), time);
      }
    });
  }

  it('are those of the examples of Moodle', () => {
    // backup/util/helper/tests/cronhelper_test.php: from a Wednesday at 17:00
    const wednesday = utc('2026-11-25T17:00:00Z');
    const next = (text: string) => nextStarts(parseSchedule(`${text} UTC`), wednesday, 1).map(iso);
    assert.deepEqual(next('0010010 23:00'), ['2026-11-27T23:00:00Z']);
    assert.deepEqual(next('1110111 20:30'), ['2026-11-26T20:30:00Z']);
    assert.deepEqual(next('0001000 16:00'), ['2026-12-02T16:00:00Z']);
    assert.deepEqual(next('1111111 17:00'), ['2026-11-25T17:00:00Z'], 'equal to now counts as now');
    assert.deepEqual(next('0000000 20:30'), []);
  });

  it('go on through both hours when the pattern names none', () => {
    const starts = nextStarts(parseSchedule('cron */30 * * * * Europe/Berlin'), utc('2026-10-25T00:00:00Z'), 5);
    assert.deepEqual(
      starts.map(iso),
      ['00:00', '00:30', '01:00', '01:30', '02:00'].map(time => `2026-10-25T${time}:00Z`),
    );
  });

  it('are one when two that are left out begin together', () => {
    const starts = nextStarts(parseSchedule('cron 0,30 2,3 * * * Europe/Berlin'), utc('2026-03-28T23:00:00Z'), 3);
    assert.deepEqual(starts.map(iso), ['2026-03-29T01:00:00Z', '2026-03-29T01:30:00Z', '2026-03-30T00:00:00Z']);
  });

  it('end before the year 3000, and a day that never comes is no endless search', () => {
    assert.deepEqual(nextStarts(parseSchedule('1111111 12:00 UTC'), utc('2999-12-31T00:00:00Z'), 5).map(iso), [
      '2999-12-31T12:00:00Z',
    ]);
    assert.deepEqual(nextStarts(parseSchedule('1111111 12:00 UTC'), 253_402_300_799n, 5), []);
    assert.deepEqual(nextStarts(parseSchedule('cron 0 0 30 2 * UTC'), 0n, 5), []);
  });

  it('agree with each other wherever they are asked from', () => {
    const schedule = fc.oneof(
      fc.record({
        timeZone: fc.constantFrom(...zones.map(([zone]) => zone)),
        weekdays: fc.array(fc.constantFrom('0', '1'), { minLength: 7, maxLength: 7 }).map(days => days.join('')),
        hour: fc.integer({ min: 0, max: 23 }),
        minute: fc.integer({ min: 0, max: 59 }),
      }),
      fc.record({
        timeZone: fc.constantFrom(...zones.map(([zone]) => zone)),
        cron: fc.constantFrom('*/20 * * * *', '30 1,2,3 * * *', '0 0 * * 0', '15 */6 1,15 * *', '59 23 28-31 * *'),
      }),
    );
    const instant = fc.integer({ min: Number(utc('2025-01-01T00:00:00Z')), max: Number(utc('2027-01-01T00:00:00Z')) });
    const count = fc.integer({ min: 1, max: 20 });
    const agrees = (of: Schedule, from: bigint, many: number) => {
      const starts = nextStarts(of, from, many);
      assert.ok(starts.every((start, i) => start >= (i === 0 ? from : starts[i - 1]! + 1n)));
      assert.deepEqual(nextStarts(of, from, 1), starts.slice(0, 1));
      if (starts.length === 0) return;
      assert.deepEqual(startsBetween(of, from - 1n, starts.at(-1)! + 1n, many), starts);
      assert.deepEqual(startsBetween(of, from - 1n, starts.at(-1)!, many), starts.slice(0, -1));
      assert.deepEqual(startsBetween(of, from - 1n, starts.at(-1)! + 1n, 3), starts.slice(-3), 'the latest');
      assert.deepEqual(nextStarts(of, starts.at(-1)!, 1), starts.slice(-1));
    };
    fc.assert(
      fc.property(schedule, instant, count, (of, from, many) => agrees(of, BigInt(from), many)),
      {
        numRuns: 300,
      },
    );
  });

  it('of a year of every minute are found without walking through it', () => {
    const from = utc('2026-01-01T00:00:00Z');
    const starts = startsBetween(parseSchedule('cron * * * * * UTC'), from, from + 365n * DAY, 100);
    assert.deepEqual([starts.length, starts.at(-1)], [100, from + 365n * DAY - 60n]);
  });
});

describe('A schedule as text', () => {
  it('is read as it was written', () => {
    for (const text of ['0111110 02:30 Europe/Berlin', 'cron 30 2 * * 1-5 UTC', '0000000 00:00 Asia/Kathmandu']) {
      assert.equal(formatSchedule(parseSchedule(text)), text);
    }
    assert.equal(formatSchedule(parseSchedule('  cron  0  0 * * *   UTC ')), 'cron 0 0 * * * UTC');
  });

  for (const [text, field] of [
    ['', 'cron'],
    ['1111111', 'cron'],
    ['1111111 2:30 UTC', 'cron'],
    ['1111111 02:30', 'cron'],
    ['1111111 02:30 UTC x', 'cron'],
    ['111111 02:30 UTC', 'weekdays'],
    ['1111112 02:30 UTC', 'weekdays'],
    ['1111111 24:00 UTC', 'hour'],
    ['1111111 02:60 UTC', 'minute'],
    ['1111111 02:30 Mars/Base', 'time_zone'],
    ['1111111 02:30 +02:00', 'time_zone'],
    ['cron 60 * * * * UTC', 'cron'],
    ['cron * * * * UTC', 'cron'],
    ['cron * * * * * * UTC', 'cron'],
    ['cron @daily UTC', 'cron'],
    ['cron x * * * * UTC', 'cron'],
  ] as const) {
    it(`is refused: "${text}"`, () => {
      assert.throws(
        () => parseSchedule(text),
        (error: ScheduleError) => error instanceof ScheduleError && error.field === field && error.message.length > 10,
      );
    });
  }
});
