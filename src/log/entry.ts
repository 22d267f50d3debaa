import { createHash } from 'node:crypto';

/** A line of a log. */
export type Entry = {
  id: bigint;
  level: number;
  message: string;
  seconds: bigint;
  nanos: number;
  /** The attempt of the run that wrote it; 0 when it was none. */
  attempt: number;
};

/** An entry whose numbers may have stayed small, because arithmetic on bigints is slow, and whose message may still be UTF-8. */
export type Encodable = Omit<Entry, 'id' | 'seconds' | 'message'> &
  Record<'id' | 'seconds', number | bigint> & { message: string | Buffer };

/** A place in a log: the last entry that was looked at, and what it was. 0 is before the first one. */
export type Position = {
  id: bigint;
  /** Empty when the entry itself was not seen. */
  fingerprint: string;
};

/** Proof of what an entry was: 64 bits of its SHA-256. */
export function fingerprint({ id, level, seconds, nanos, message }: Encodable): string {
  const hash = createHash('sha256').update(`${id} ${level} ${seconds} ${nanos} `).update(message);
  return hash.digest().subarray(0, 8).toString('base64url');
}

/** The entry of a row. */
export type EntryRow = {
  id: string;
  loglevel: number;
  message: string;
  created_at: string;
  created_nanos: number;
  attempt: number;
};

export function toEntry(row: EntryRow): Entry {
  return {
    id: BigInt(row.id),
    level: row.loglevel,
    message: row.message,
    seconds: BigInt(row.created_at),
    nanos: row.created_nanos,
    attempt: row.attempt,
  };
}
