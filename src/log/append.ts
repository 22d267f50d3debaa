import { createHash } from 'node:crypto';
import { smallintArray, textArray } from '../db/arrays.ts';
import { epochMicros } from '../db/clock.ts';
import { isTaken, onCitus } from '../db/engine.ts';
import type { Sql } from '../db/sql.ts';
import { ErrorReason, StatusError } from '../errors.ts';
import { appendApart } from './append-apart.ts';
import type { Entry } from './entry.ts';

/** An entry to append; without `at` it gets the database's time. */
export type NewEntry = { level: number; message: string; at: { seconds: bigint; nanos: number } | undefined };

/** What entries were given, and how they have left their log. */
export type Appended = {
  firstId: bigint;
  lastId: bigint;
  /** Epoch microseconds: the time of those that came with none. */
  lastMicros: bigint;
  /** The attempt that they are of; 0 without a lease. */
  attempt: number;
  sealedId: bigint | undefined;
};

/** What was answered to a request, now or the first time that it came. */
export type Answer = { firstId: bigint; lastId: bigint; dropped: number };

/** What is kept after an append. `appended` is missing when that was an earlier one with the same request id. */
export type Kept = { answer: Answer; appended?: Appended };

/** Tells whoever waits for it of entries that were appended. */
export type Tell = (backupId: string, entries: readonly NewEntry[], appended: Appended) => void;

/** Entries for one backup, all or none. */
export type Append = {
  backupId: string;
  entries: NewEntry[];
  /** They count only while this lease is held; the empty string is none. */
  leaseToken: string;
  /** With this, they are appended once. The digest is of what was asked. */
  request?: { id: string; digest: Buffer; dropped: number };
};

/**
 * Appends entries to the log of one backup: all or none, durable when this resolves. With a lease token they are those of the attempt that
 * holds the lease; undefined, and nothing is appended, when it is not held.
 *
 * One statement takes as many ids as there are entries from the log's head and inserts the entries under them. The head stays locked until
 * the commit, so ids have no gaps and become visible in their order; a rollback gives them back. Appends to different backups never
 * meet. (`em.insertMany` takes 2.1 times as long for 500 entries, multi-row VALUES 1.2 times.)
 */
export async function append(
  sql: Sql,
  backupId: string,
  entries: NewEntry[],
  leaseToken = '',
): Promise<Appended | undefined> {
  const values = columns(backupId, entries, leaseToken);
  const [row] = await sql<AppendRow>(
    onCitus()
      ? appendApart(values)
      : {
          ...(leaseToken ? { name: 'append-held', text: HELD_APPEND } : { name: 'append', text: FREE_APPEND }),
          values,
        },
  );
  return row && appended(row, entries.length);
}

/**
 * Appends once, however often it is asked with the same request id: the first answer is kept with the entries and given again, also when the
 * lease is lost by then. `dropped` is part of that answer.
 */
export async function appendOnce(
  sql: Sql,
  { backupId, entries, leaseToken }: Append,
  { id, digest, dropped }: NonNullable<Append['request']>,
): Promise<Kept | undefined> {
  const values = columns(backupId, entries, leaseToken);
  const statement = onCitus()
    ? appendApart(values, { request: { id, digest, dropped } })
    : {
        ...(leaseToken
          ? { name: 'append-once-held', text: HELD_APPEND_ONCE }
          : { name: 'append-once', text: FREE_APPEND_ONCE }),
        values: [...values, id, digest, dropped],
      };
  try {
    const [row] = await sql<AppendRow>(statement);
    if (row) return kept(appended(row, entries.length), dropped);
  } catch (error) {
    // The key of the kept answers has refused the whole statement, the ids that it took included.
    if (!isTaken(error, 'backup_log_requests')) throw error;
  }
  return firstAnswer(sql, backupId, id, digest);
}

/** What a request is made of, for `Append.request`. */
export function digestOf(content: Uint8Array): Buffer {
  return createHash('sha256').update(content).digest();
}

/** Whether a lease is held: for a writer whose entries are none, because all were dropped. */
export async function isHeld(sql: Sql, backupId: string, leaseToken: string): Promise<boolean> {
  const text = 'select from backup_controllers where backupid = $1 and leasetoken = $2';
  return (await sql({ text, values: [backupId, leaseToken] })).length > 0;
}

// $1 backup id, $2 number of entries, $3 to $6 their columns, $7 the lease token. `now()` and not the clock of the moment: some distributed
// engines allow only that in an update, and `greatest` keeps times in order although transactions wait for each other.
export const appendSql = ({ before = '', attempt, after = '', answer }: AppendSql) => `
  with ${before}head as (
    insert into backup_log_heads as h (backupid, lastid, lastmicros)
    select $1::varchar, $2::bigint, ${epochMicros} from ${attempt}
    on conflict (backupid) do update
      set lastid = h.lastid + excluded.lastid, lastmicros = greatest(h.lastmicros, excluded.lastmicros)
    returning lastid, lastmicros, sealedid
  ), entries as (
    insert into backup_logs (backupid, id, loglevel, message, created_at, created_nanos, attempt, appended_micros)
    select $1::varchar, head.lastid - $2::bigint + e.n, e.level, e.message,
           coalesce(e.seconds, head.lastmicros / 1000000),
           coalesce(e.nanos, head.lastmicros % 1000000 * 1000), attempt, case when e.seconds is not null then head.lastmicros end
    from head, ${attempt}, unnest($3::smallint[], $4::text[], $5::bigint[], $6::int[])
      with ordinality as e (level, message, seconds, nanos, n)
  )${after}
  ${answer ?? `select lastid, lastmicros, sealedid, attempt from head, ${attempt}`}`;

/** Parts of the statement: what comes before and after what it does, the table of one row that has the attempt, or none, and what is answered. */
type AppendSql = { before?: string; attempt: string; after?: string; answer?: string };

export const FREE = '(select 0 as attempt where $7::uuid is null) as free';

// The row is locked against whoever takes the lease away, and looked at again when that one was first; reports of progress pass.
export const HELD = `held as (
    select attempt from backup_controllers where backupid = $1::varchar and leasetoken = $7::uuid for key share
  ), `;

const REMEMBER = `, request as (
    insert into backup_log_requests (backupid, requestid, digest, firstid, lastid, dropped, created_at)
    select $1::varchar, $8::uuid, $9::bytea, lastid - $2::bigint + 1, lastid, $10::int, lastmicros / 1000000 from head
  )`;

const FREE_APPEND = appendSql({ attempt: FREE });
const HELD_APPEND = appendSql({ before: HELD, attempt: 'held' });
const FREE_APPEND_ONCE = appendSql({ attempt: FREE, after: REMEMBER });
const HELD_APPEND_ONCE = appendSql({ before: HELD, attempt: 'held', after: REMEMBER });

/** $1 to $7 of the statement. */
export function columns(backupId: string, entries: NewEntry[], leaseToken: string): unknown[] {
  return [backupId, entries.length, ...entryColumns(entries), leaseToken || null];
}

/**
 * Levels, messages, and the seconds and nanoseconds of times, as arrays. Where no writer gave a time the arrays of times are empty:
 * `unnest` fills shorter ones up with nulls.
 */
export function entryColumns(entries: readonly NewEntry[]): unknown[] {
  const timed = entries.some(({ at }) => at);
  return [
    smallintArray(entries.map(({ level }) => level)),
    textArray(entries.map(({ message }) => message)),
    timed ? entries.map(({ at }) => at?.seconds ?? null) : [],
    timed ? entries.map(({ at }) => at?.nanos ?? null) : [],
  ];
}

export type AppendRow = { lastid: string; lastmicros: string; sealedid: string | null; attempt: number };

/** What an append of so many entries has answered. */
export function appended({ lastid, lastmicros, sealedid, attempt }: AppendRow, count: number): Appended {
  const lastId = BigInt(lastid);
  return {
    firstId: lastId - BigInt(count) + 1n,
    lastId,
    lastMicros: BigInt(lastmicros),
    sealedId: sealedid === null ? undefined : BigInt(sealedid),
    attempt,
  };
}

/** What is answered to an append. */
export function kept(appended: Appended, dropped: number): Kept {
  return { answer: { firstId: appended.firstId, lastId: appended.lastId, dropped }, appended };
}

/** Entries as they are in the table now. */
export function entriesOf({ firstId, lastMicros, attempt }: Appended, entries: readonly NewEntry[]): Entry[] {
  const now = { seconds: lastMicros / 1_000_000n, nanos: Number(lastMicros % 1_000_000n) * 1000 };
  return entries.map(({ level, message, at }, i) => {
    const { seconds, nanos } = at ?? now;
    return { id: firstId + BigInt(i), level, message, seconds, nanos, attempt };
  });
}

async function firstAnswer(sql: Sql, backupId: string, requestId: string, digest: Buffer): Promise<Kept | undefined> {
  const [row] = await sql<{ digest: Buffer; firstid: string; lastid: string; dropped: number }>({
    text: 'select digest, firstid, lastid, dropped from backup_log_requests where backupid = $1 and requestid = $2',
    values: [backupId, requestId],
  });
  if (row && !row.digest.equals(digest)) {
    throw new StatusError(ErrorReason.REQUEST_ID_REUSED, 'request_id: used before for an append with other content');
  }
  return row && { answer: { firstId: BigInt(row.firstid), lastId: BigInt(row.lastid), dropped: row.dropped } };
}
