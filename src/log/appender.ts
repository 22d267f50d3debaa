import { Lanes, type Probe } from '../batch.ts';
import { onCitus } from '../db/engine.ts';
import type { Sql } from '../db/sql.ts';
import { ErrorReason, exhausted, type StatusError } from '../errors.ts';
import { type Append, append, appendOnce, type Kept, kept } from './append.ts';
import { appendFree, isFree } from './free.ts';
import { ENTRY_OVERHEAD } from './page.ts';
import { appendSame, areSame } from './same.ts';
import { appendTogether } from './together.ts';

/**
 * Joins appends that come at the same time into one statement and one commit, also of different backups: group commit. Nothing waits for a
 * timer; an append that is alone goes alone. Those to the same backup go in the order in which they came. What the database cannot take
 * waits here, up to a bound; beyond that callers are told to come back.
 */
export class Appender {
  readonly #lanes: Lanes<Append, Kept | undefined>;
  readonly #mostBytes: number;
  #bytes = 0;

  constructor(sql: Sql, { mostBytes, probe }: { mostBytes: number; probe?: Probe | undefined }) {
    this.#mostBytes = mostBytes;
    this.#lanes = new Lanes(onCitus() ? LANES_APART : LANES, appends => run(sql, appends), {
      name: 'append',
      probe,
      weight: BATCH_BYTES,
      weigh: bytesOf,
      ...(onCitus() && { joins: areSame }),
      most: Number.POSITIVE_INFINITY, // counted for all lanes together, here
    });
  }

  /** What waits or is under way, in bytes, and how much that may be. */
  get queue(): { bytes: number; mostBytes: number } {
    return { bytes: this.#bytes, mostBytes: this.#mostBytes };
  }

  /**
   * Durable when it resolves; undefined when the lease is not held, and nothing is appended then. What still waits when `signal` is aborted is
   * not appended either.
   */
  async append(one: Append, signal: AbortSignal): Promise<Kept | undefined> {
    const bytes = bytesOf(one);
    // One that is larger than the bound is taken when nothing else waits.
    if (this.#bytes > 0 && this.#bytes + bytes > this.#mostBytes) throw overloaded(this.#mostBytes);
    this.#bytes += bytes;
    try {
      return await this.#lanes.submit(one.backupId, one, signal);
    } finally {
      this.#bytes -= bytes;
    }
  }
}

// One that is alone takes the statement for one: 0.2 ms instead of 0.3 with one entry, 0.68 instead of 0.89 with a hundred.
async function run(sql: Sql, appends: Append[]): Promise<(Kept | undefined)[]> {
  const [one, ...others] = appends;
  if (others.length > 0 && onCitus()) return appendSame(sql, appends);
  if (others.length > 0) return appends.every(isFree) ? appendFree(sql, appends) : appendTogether(sql, appends);
  const { backupId, entries, leaseToken, request } = one!;
  if (request) return [await appendOnce(sql, one!, request)];
  const appended = await append(sql, backupId, entries, leaseToken);
  return [appended && kept(appended, 0)];
}

function bytesOf({ entries }: Append): number {
  return entries.reduce((sum, { message }) => sum + message.length + ENTRY_OVERHEAD, 0);
}

function overloaded(most: number): StatusError {
  const message = 'more is to be appended than the database takes at the moment';
  return exhausted(ErrorReason.OVERLOADED, message, { limit: 'append bytes', of: 'replica', most }, 1000);
}

/**
 * Statements at a time. Backups are divided among them, so that those to one backup keep their order, and what has to wait for a lock on one log
 * does not hold up all others. With four, 64 callers were as fast as with two, and PostgreSQL had 40 % more work.
 */
const LANES = 2;

/**
 * On Citus only appends to the same log are joined. A statement for several locks the heads of several shards, in no order, and two of them would
 * wait for each other until Citus finds out, two seconds later.
 */
const LANES_APART = 8;

/** Of a batch; about a thousand short lines. */
const BATCH_BYTES = 256 * 1024;
