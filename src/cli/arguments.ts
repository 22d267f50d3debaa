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

export function choice<T extends string>(choices: readonly T[]): (given: string) => T {
  return given => {
    if ((choices as readonly string[]).includes(given)) return given as T;
    throw new InvalidArgumentError(`must be one of ${choices.join(', ')}`);
  };
}

/** An instant: as ISO 8601, which is local without a zone, or so long ago, as 2h. */
export function instant(given: string): Date {
  if (/^\d{1,9}(ms|s|m|h|d)$/.test(given)) return new Date(Date.now() - duration(given));
  const time = /^\d{4}-\d\d-\d\d/.test(given)
    ? new Date(/T|\s/.test(given) ? given : `${given}T00:00`)
    : new Date(Number.NaN);
  if (Number.isNaN(time.getTime()))
    throw new InvalidArgumentError('must be a time such as 2026-03-01T02:30, or an age such as 2h');
  return time;
}

export function file(given: string): string {
  if (given === '') throw new InvalidArgumentError('must be a path');
  return given;
}

export function text(given: string): string {
  if (given === '') throw new InvalidArgumentError('must not be empty');
  return given;
}
