import type { Entry, Position } from './entry.ts';
import type { Head } from './head-row.ts';

/** A log, and the last of its entries that is known; undefined when none is, and nothing but where it stands is wanted. */
export type Known = { backupId: string; lastId: bigint | undefined };

/** Where a log stands, and what has come. */
export type News = {
  head: Head;
  /** What the last known entry, or the last one of all, is by what is there now; without fingerprint when it is not there. */
  proof: Position;
  /** The entries behind it, without a gap; not all of them when they are many or long. */
  entries: Entry[];
};

/** Which logs have grown, or got their controllers, at or after a time; some more may be among them. */
export type Active = {
  /** The database's clock when it was looked, in epoch microseconds. */
  at: bigint;
  /** Id of the last entry of each. */
  lastIds: Map<string, bigint>;
};
