import { Cron } from 'croner';

/** When the automated backups of a course start, in the wall-clock time of an IANA zone. */
export type Schedule = Weekly | { timeZone: string; cron: string };

/** At one time of the day. `weekdays` are seven characters 0 or 1, Sunday first: Moodle's setting `backup_auto_weekdays`. */
export type Weekly = { timeZone: string; weekdays: string; hour: number; minute: number };

/** What is wrong with a schedule, and where. */
export class ScheduleError extends Error {
  override readonly name = 'ScheduleError';
  readonly field: Field;

  constructor(field: Field, message: string) {
    super(message);
    this.field = field;
  }
}

type Field = 'weekdays' | 'hour' | 'minute' | 'cron' | 'time_zone';

/**
 * The next starts in epoch seconds, ascending; `from` counts. There are fewer than `count`, or none, when no more will come before the year 3000.
 *
 * A wall-clock time that is left out when the clock is put forward starts in the first moment after that: 02:30 in Berlin on the last Sunday
 * of March at 03:00 summer time. One that comes twice starts the first time only. (Patterns that name no hour, every 30 minutes for
 * example, go on through both hours.)
 */
export function nextStarts(schedule: Schedule, from: bigint, count: number): bigint[] {
  const starts: bigint[] = [];
  const compiled = compile(schedule);
  while (starts.length < count) {
    const next = compiled.next(from);
    if (next === undefined) break;
    starts.push(next);
    from = next + 1n;
  }
  return starts;
}

/** The starts after one instant and before another, in epoch seconds, ascending; when there are more than `most`, the latest of them. */
export function startsBetween(schedule: Schedule, after: bigint, before: bigint, most: number): bigint[] {
  const starts: bigint[] = [];
  const compiled = compile(schedule);
  for (let next = compiled.next(after + 1n); next !== undefined && next < before; next = compiled.next(next + 1n)) {
    if (starts.length === most) return compiled.latest(before, most);
    starts.push(next);
  }
  return starts;
}

/** Throws a `ScheduleError` when no start could be computed. */
export function checkSchedule(schedule: Schedule): void {
  compile(schedule);
}

/** `1111111 02:30 Europe/Berlin` or `cron 30 2 * * 1-5 Europe/Berlin`; throws a `ScheduleError`. */
export function parseSchedule(text: string): Schedule {
  const words = text.trim().split(/\s+/);
  const timeZone = words.at(-1)!;
  const [, hour, minute] = words[1]?.match(/^(\d\d):(\d\d)$/) ?? [];
  let schedule: Schedule;
  if (words[0] === 'cron' && words.length === 7) schedule = { timeZone, cron: words.slice(1, 6).join(' ') };
  else if (words.length === 3 && hour && minute) {
    schedule = { timeZone, weekdays: words[0]!, hour: Number(hour), minute: Number(minute) };
  } else {
    throw new ScheduleError('cron', 'must be like "1111111 02:30 Europe/Berlin" or "cron 30 2 * * * Europe/Berlin"');
  }
  checkSchedule(schedule);
  return schedule;
}

/** What `parseSchedule` reads. */
export function formatSchedule(schedule: Schedule): string {
  if ('cron' in schedule) return `cron ${schedule.cron.trim().split(/\s+/).join(' ')} ${schedule.timeZone}`;
  const [hour, minute] = [schedule.hour, schedule.minute].map(number => String(number).padStart(2, '0'));
  return `${schedule.weekdays} ${hour}:${minute} ${schedule.timeZone}`;
}

/** Making one takes 60 µs, the next start of it 30, and many courses share one schedule. */
const known = new Map<string, Compiled>();

function compile(schedule: Schedule): Compiled {
  const text = formatSchedule(schedule);
  let compiled = known.get(text);
  if (!compiled) {
    compiled = new Compiled(patternOf(schedule), schedule.timeZone);
    if (known.size === MOST_KNOWN) known.delete(known.keys().next().value!);
    known.set(text, compiled);
  }
  return compiled;
}

const MOST_KNOWN = 1000;

class Compiled {
  readonly #cron: Cron | undefined;
  #last: { from: bigint; next: bigint } | undefined;

  /** Without a pattern it never starts. */
  constructor(pattern: string | undefined, timeZone: string) {
    if (!isZone(timeZone)) {
      throw new ScheduleError('time_zone', `must be a zone of the IANA database, and "${timeZone}" is none`);
    }
    try {
      this.#cron = pattern ? new Cron(pattern, { timezone: timeZone, mode: '5-part' }) : undefined;
    } catch (error) {
      throw new ScheduleError('cron', `is no pattern of five fields: ${(error as Error).message}`);
    }
  }

  /** The first start at or after an instant. */
  next(from: bigint): bigint | undefined {
    if (from >= END) return undefined;
    const last = this.#last;
    // Between an instant and its next start all have the same one.
    if (last && last.from <= from && from <= last.next) return last.next;
    const date = this.#cron?.nextRun(toDate(from - 1n));
    if (!date) return undefined;
    const next = fromDate(date);
    this.#last = { from, next };
    return next;
  }

  /** The latest starts before an instant, ascending. */
  latest(before: bigint, count: number): bigint[] {
    return (this.#cron?.previousRuns(count, toDate(before)) ?? []).map(fromDate).reverse();
  }
}

function patternOf(schedule: Schedule): string | undefined {
  if ('cron' in schedule) return schedule.cron;
  const { weekdays, hour, minute } = schedule;
  if (!/^[01]{7}$/.test(weekdays)) {
    throw new ScheduleError('weekdays', 'must be seven characters 0 or 1, Sunday first');
  }
  if (!(hour >= 0 && hour <= 23)) throw new ScheduleError('hour', 'must be from 0 to 23');
  if (!(minute >= 0 && minute <= 59)) throw new ScheduleError('minute', 'must be from 0 to 59');
  const days = [...weekdays].flatMap((day, i) => (day === '1' ? [i] : []));
  return days.length > 0 ? `${minute} ${hour} * * ${days.join(',')}` : undefined;
}

function isZone(name: string): boolean {
  if (/^[+-]|^$/.test(name)) return false;
  try {
    new Intl.DateTimeFormat('en', { timeZone: name });
    return true;
  } catch {
    return false;
  }
}

function toDate(seconds: bigint): Date {
  return new Date(Number(seconds) * 1000);
}

function fromDate(date: Date): bigint {
  return BigInt(date.getTime() / 1000);
}

/** The year 3000, where croner stops. */
const END = 32_503_680_000n;
