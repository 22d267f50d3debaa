import { createHash } from 'node:crypto';
import type { Pool, PoolClient } from 'pg';
import { ErrorReason, StatusError } from '../errors.ts';

/** An entry to append; without `at` it gets the database's time. */
export type NewEntry = { level: number; message: string; at: { seconds: bigint; nanos: number } | undefined };

export type Appended = { firstId: bigint; lastId: bigint };

/**
 * Appends entries to the log of one backup: all or none, durable when this resolves.
 *
 * One statement takes as many ids as there are entries from the log's head and inserts the entries under them. The head stays locked until
 * the commit, so ids have no gaps and become visible in their order; a rollback gives them back. Appends to different backups never
 * meet. (`em.insertMany` takes 2.1 times as long for 500 entries, multi-row VALUES 1.2 times.)
 */
export async function append(pool: Pool | PoolClient, backupId: string, entries: NewEntry[]): Promise<Appended> {
  const result = await pool.query({ name: 'append', text: appendSql(''), values: columns(backupId, entries) });
  return appended(result.rows[0], entries.length);
}

/**
 * Appends once, however often it is asked with the same request id: the first answer is kept with the entries and given again.
 * `dropped` is part of that answer.
 */
export async function appendOnce(
  pool: Pool,
  backupId: string,
  entries: NewEntry[],
  request: { id: string; dropped: number; content: Uint8Array },
): Promise<Appended & { dropped: number }> {
  const digest = createHash('sha256').update(request.content).digest();
  try {
    const values = [...columns(backupId, entries), request.id, digest, request.dropped];
    const result = await pool.query({ name: 'append-once', text: appendSql(REMEMBER), values });
    return { ...appended(result.rows[0], entries.length), dropped: request.dropped };
  } catch (error) {
    // The key of the kept answers has refused the whole statement, the ids that it took included.
    if ((error as { constraint?: string }).constraint !== 'backup_log_requests_pkey') throw error;
    return firstAnswer(pool, backupId, request.id, digest);
  }
}

// $1 backup id, $2 number of entries, $3 to $6 their columns. `now()` and not the clock of the moment: some distributed engines allow only that
// in an update, and `greatest` keeps times in order although transactions wait for each other.
const appendSql = (more: string) => `
  with head as (
    insert into backup_log_heads as h (backupid, lastid, lastmicros)
    values ($1, $2::bigint, floor(extract(epoch from now()) * 1000000)::bigint)
    on conflict (backupid) do update
      set lastid = h.lastid + excluded.lastid, lastmicros = greatest(h.lastmicros, excluded.lastmicros)
    returning lastid, lastmicros
  ), entries as (
    insert into backup_logs (backupid, id, loglevel, message, created_at, created_nanos)
    select $1, head.lastid - $2::bigint + e.n, e.level, e.message,
           coalesce(e.seconds, head.lastmicros / 1000000),
           coalesce(e.nanos, head.lastmicros % 1000000 * 1000)
    from head, unnest($3::smallint[], $4::text[], $5::bigint[], $6::int[]) with ordinality as e (level, message, seconds, nanos, n)
  )${more}
  select lastid from head`;

const REMEMBER = `, request as (
    insert into backup_log_requests (backupid, requestid, digest, firstid, lastid, dropped, created_at)
    select $1, $7::uuid, $8::bytea, lastid - $2::bigint + 1, lastid, $9::int, lastmicros / 1000000 from head
  )`;

function columns(backupId: string, entries: NewEntry[]): unknown[] {
  return [
    backupId,
    entries.length,
    entries.map(entry => entry.level),
    entries.map(entry => entry.message),
    entries.map(entry => entry.at?.seconds ?? null),
    entries.map(entry => entry.at?.nanos ?? null),
  ];
}

function appended(row: { lastid: string }, count: number): Appended {
  const lastId = BigInt(row.lastid);
  return { firstId: lastId - BigInt(count) + 1n, lastId };
}

async function firstAnswer(
  pool: Pool,
  backupId: string,
  requestId: string,
  digest: Buffer,
): Promise<Appended & { dropped: number }> {
  const { rows } = await pool.query(
    'select digest, firstid, lastid, dropped from backup_log_requests where backupid = $1 and requestid = $2',
    [backupId, requestId],
  );
  const [row] = rows;
  if (!row?.digest.equals(digest)) {
    throw new StatusError(ErrorReason.REQUEST_ID_REUSED, 'request_id: used before for an append with other content');
  }
  return { firstId: BigInt(row.firstid), lastId: BigInt(row.lastid), dropped: row.dropped };
}
