import { InvalidArgumentError } from 'commander';

// What arguments of the command line mean. Each throws InvalidArgumentError, which ends the command with 2.

/** One or more host:port, with commas between them. */
export function addresses(given: string): string[] {
  const all = given.split(',').map(one => one.trim());
  const bad = all.find(one => !/^(\[[\da-f:.]+\]|[^\s:/,]+):\d{1,5}$/i.test(one));
  if (bad !== undefined) throw new InvalidArgumentError(`${JSON.stringify(bad)} must be host:port`);
  return all;
}

/** Milliseconds, from 1 ms to 20 days: a timer of Node keeps no more than 24. */
export function duration(given: string): number {
  const [, count, unit] = given.match(/^(\d{1,9})(ms|s|m|h|d)$/) ?? [];
  const ms = Number(count) * (UNITS[unit!] ?? Number.NaN);
  if (ms >= 1 && ms <= 20 * 86_400_000) return ms;
  throw new InvalidArgumentError('must be a time from 1ms to 20d, such as 500ms, 30s, 5m or 1h');
}

const UNITS: Record<string, number> = { ms: 1, s: 1000, m: 60_000, h: 3_600_000, d: 86_400_000 };

export function wholeNumber(least: number, most: number): (given: string) => number {
  return given => {
    const number = Number(given);
    if (/^\d+$/.test(given) && number >= least && number <= most) return number;
    throw new InvalidArgumentError(`must be a whole number from ${least} to ${most}`);
  };
}

/** Numbers of courses, users and the like: 1 or more. */
export function id(given: string): bigint {
  if (!/^\d{1,18}$/.test(given) || BigInt(given) < 1n)
    throw new InvalidArgumentError('must be a whole number, 1 or more');
  return BigInt(given);
}

export function backupId(given: string): string {
  if (!/^[0-9a-f]{32}$/.test(given)) throw new InvalidArgumentError('must be 32 lower-case hexadecimal digits');
  return given;
}

/** One or more of them, each once. */
export function backupIds(given: string, before: string[] = []): string[] {
  const one = backupId(given);
  return before.includes(one) ? before : [...before, one];
}

/** How many to list: a number, or Infinity for `all`. */
export function limit(given: string): number {
  return given === 'all' ? Number.POSITIVE_INFINITY : wholeNumber(1, 1_000_000_000)(given);
}

/** One of these words. */
export function choice<T extends string>(choices: readonly T[]): Chooser<(given: string) => T> {
  const parse = (given: string) => ((choices as readonly string[]).includes(given) ? (given as T) : notAmong(choices));
  return Object.assign(parse, { choices });
}

/** Some of these words, in any case and with `_` for `-`, with commas between them, or from several options. */
export function someOf<T extends string>(choices: readonly T[]): Chooser<(given: string, before?: T[]) => T[]> {
  const parse = (given: string, before: T[] = []) => {
    const words = given
      .toLowerCase()
      .replaceAll('_', '-')
      .split(',')
      .map(word => word.trim());
    const known = words.filter(word => (choices as readonly string[]).includes(word)) as T[];
    return known.length === words.length ? [...before, ...known] : notAmong(choices);
  };
  return Object.assign(parse, { choices });
}

/** What a shell can offer. */
type Chooser<F> = F & { choices: readonly string[] };

function notAmong(choices: readonly string[]): never {
  throw new InvalidArgumentError(`must be one of ${choices.join(', ')}`);
}

/** Milliseconds, from 1 s to 100 years: an age of what is stored, for which no timer runs. */
export function age(given: string): number {
  const [, count, unit] = given.match(/^(\d{1,10})(s|m|h|d)$/) ?? [];
  const ms = Number(count) * (UNITS[unit!] ?? Number.NaN);
  if (ms >= 1000 && ms <= 36_525 * 86_400_000) return ms;
  throw new InvalidArgumentError('must be an age from 1s to 36525d, such as 30m, 12h or 90d');
}

/** An instant: as ISO 8601, which is local without a zone, or so long ago, as 2h. */
export function instant(given: string): Date {
  return AGE.test(given) ? new Date(Date.now() - age(given)) : isoTime(given);
}

/** An instant: as ISO 8601, which is local without a zone, or in so long, as 2h. */
export function later(given: string): Date {
  return AGE.test(given) ? new Date(Date.now() + age(given)) : isoTime(given);
}

const AGE = /^\d+(s|m|h|d)$/;

function isoTime(given: string): Date {
  const parts = /^(\d{4}-\d\d-\d\d)(?:[T ](\d\d:\d\d(?::\d\d(?:\.\d{1,9})?)?)(Z|[+-]\d\d:?\d\d)?)?$/.exec(given);
  // Without a time of the day a date would be midnight in Greenwich.
  const time = new Date(parts ? `${parts[1]}T${parts[2] ?? '00:00'}${parts[3] ?? ''}` : Number.NaN);
  if (!Number.isNaN(time.getTime())) return time;
  throw new InvalidArgumentError(
    'must be a time such as 2026-03-01T02:30 or 2026-03-01T02:30Z, or 30m, 2h, 3d from now',
  );
}

export function file(given: string): string {
  if (given === '') throw new InvalidArgumentError('must be a path');
  return given;
}

export function text(given: string): string {
  if (given === '') throw new InvalidArgumentError('must not be empty');
  return given;
}
