import type { Position } from './entry.ts';

/** Of how many entries and of how many bytes a page is at most; a single entry may exceed the bytes. */
export type PageLimits = { entries: number; bytes: number };

/** What comes behind a position, encoded, and where it leads. */
export type PageRead = { entries: number; bytes: Buffer; end: Position };

/** What is asked for: of committed entries only, so up to an id that is known to be there. */
export type PageWish = {
  upTo: bigint;
  maxLevel: number;
  limits: PageLimits;
  /** Of the message around the entries. */
  field: number;
};

/** All levels: none is more verbose. */
export const ALL_LEVELS = 32767;

/**
 * How many ids a page looks at. Ids have no gaps, so a bound on them bounds the work whatever plan the database makes: with a limit alone and
 * no statistics yet, it sorted the whole rest of the log for each page (35 ms instead of 4 for 1000 of 50,000 entries). A page of a filter
 * may come back with fewer entries than there are, or none; the next one goes on behind them.
 */
export function reach(entries: number, filtered: boolean): bigint {
  return BigInt(filtered ? Math.max(10 * entries, 10_000) : entries);
}

/** The most that an entry takes in a message besides its text. */
export const ENTRY_OVERHEAD = 80;

export const least = (a: bigint, b: bigint) => (a < b ? a : b);
