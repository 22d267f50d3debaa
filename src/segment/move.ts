import { randomBytes } from 'node:crypto';
import type { Pool } from 'pg';
import { epochMicros } from '../db/clock.ts';
import { onAllNodes } from '../db/shard.ts';
import { type Sql, sqlOn, transaction } from '../db/sql.ts';
import { fingerprint } from '../log/entry.ts';
import { ENTRY_OVERHEAD, least } from '../log/limits.ts';
import { digest, SegmentWriter } from './message.ts';
import { announceObject, giveUpObject, hurryRemoval, isBeingWritten, keepObject } from './removal.ts';
import { appendedAt, type MovedEntry } from './segment.ts';
import type { Store } from './store.ts';

export type MoveRule = {
  /** Seconds for which nothing was appended to a log that is sealed. */
  after: number;
  /** How long the texts of a segment may be together, in bytes; a single entry may be longer. */
  bytes: number;
};

type Needs = { pool: Pool; store: Store; signal: AbortSignal };

/**
 * Moves the next entries of a log into a segment, and returns how many, and how long the object is; undefined when there is nothing to move, or
 * somebody else is at it.
 *
 * The object is written down as one to remove, written, read back and compared; then one transaction takes the rows from the table, if they are still
 * what was written, and makes the object part of the log. Whatever breaks before its commit leaves the log as it was and the object to be removed;
 * whatever breaks behind it has lost nothing. Of any number who do this at once, one commits.
 *
 * What is to be removed is so until it surely will not arrive any more: a request that nobody waits for may do that later.
 */
export async function moveSegment(
  { pool, store, signal }: Needs,
  backupId: string,
  rule: MoveRule,
): Promise<{ entries: number; bytes: number } | undefined> {
  const sql = sqlOn(pool);
  const range = await nextRange(sql, backupId, rule);
  if (!range || (await isBeingWritten(sql, backupId))) return undefined;
  const count = Number(range.to - range.from) + 1;
  const writer = new SegmentWriter(backupId);
  for (let from = range.from; from <= range.to; from += AT_ONCE) {
    writer.add(await readEntries(sql, backupId, from, least(range.to, from + AT_ONCE - 1n)));
  }
  // Retention has taken some since.
  if (writer.count !== count) return undefined;
  const { object, ...content } = await writer.finish();
  const checksum = digest(object);
  const name = `${range.from}-${range.to}-${checksum.toString('hex', 0, 8)}-${randomBytes(8).toString('hex')}.seg`;
  const key = `${backupId}/${name}`;
  await announceObject(sql, backupId, key, ARRIVING_SECONDS);
  let [written, kept] = [false, false];
  try {
    await store.put(key, object, signal);
    written = true;
    const there = await store.get(key, signal);
    if (!there || !digest(there).equals(checksum))
      throw new Error(`${store.place} gives ${key} back as something else`);
    await transaction(pool, async sql => {
      await take(sql, backupId, range, { ...content, key, checksum, bytes: object.length });
      kept = true;
    });
  } catch (error) {
    // Whether it was kept when all was said but no answer came to the commit, only its row knows.
    if (kept) await hurryRemoval(sql, backupId, key).catch(() => {});
    else await giveUpObject(sql, backupId, key, written ? 0 : ARRIVING_SECONDS).catch(() => {});
    if (error instanceof Changed) return undefined;
    throw error;
  }
  return { entries: count, bytes: object.length };
}

/** Of entries: those to move. The last one of a log stays, by which tails are sure that the log is what it was. */
type Range = { from: bigint; to: bigint; movedId: bigint; lastMicros: bigint };

/** What may be moved of the head `h`, in SQL: whether there is something; `$after` are seconds. */
export const isMovable = (
  after: string,
) => `h.sealedid is not null and h.lastmicros < ${epochMicros} - ${after}::bigint * 1000000
  and greatest(h.firstid - 1, h.movedid) < least(h.sealedid, h.lastid - 1)`;

async function nextRange(sql: Sql, backupId: string, { after, bytes }: MoveRule): Promise<Range | undefined> {
  const [head] = await sql<{ movedid: string; lastmicros: string; first: string; last: string }>({
    text: `select h.movedid, h.lastmicros, greatest(h.firstid, h.movedid + 1) as first, least(h.sealedid, h.lastid - 1) as last
      from backup_log_heads h where h.backupid = $1 and ${isMovable('$2')}`,
    values: [backupId, after],
  });
  if (!head) return undefined;
  const [from, last] = [BigInt(head.first), BigInt(head.last)];
  // The lengths are known without reading the texts.
  const [range] = await sql<{ last: string | null }>({
    text: `select max(id) as last from (
        select id, sum(octet_length(message) + ${ENTRY_OVERHEAD}) over (order by id) as total
        from backup_logs where backupid = $1 and id between $2 and $3
      ) entry where total <= $4 or id = $2`,
    values: [backupId, from, least(last, from + MOST_ENTRIES - 1n), bytes],
  });
  if (!range?.last) return undefined;
  return { from, to: BigInt(range.last), movedId: BigInt(head.movedid), lastMicros: BigInt(head.lastmicros) };
}

async function readEntries(sql: Sql, backupId: string, from: bigint, to: bigint): Promise<MovedEntry[]> {
  const rows = await sql<Record<string, string> & { loglevel: number; created_nanos: number; attempt: number }>({
    text: `select id, loglevel, message, created_at, created_nanos, attempt, appended_micros from backup_logs
      where backupid = $1 and id between $2 and $3 order by id`,
    values: [backupId, from, to],
  });
  return rows.map(row => ({
    id: BigInt(row['id']!),
    level: row.loglevel,
    message: row['message']!,
    seconds: BigInt(row['created_at']!),
    nanos: row.created_nanos,
    attempt: row.attempt,
    appendedMicros: row['appended_micros'] === null ? undefined : BigInt(row['appended_micros']!),
  }));
}

type Content = Omit<Awaited<ReturnType<SegmentWriter['finish']>>, 'object'>;

/** The log is not what it was when it was read. */
class Changed extends Error {}

// Locks in the order of `shortenLogs`: the head against deletion, entries, the head as it changes.
async function take(
  sql: Sql,
  backupId: string,
  { from, to, movedId, lastMicros }: Range,
  { first, last, levels, ...object }: Content & { key: string; checksum: Buffer; bytes: number },
): Promise<void> {
  await onAllNodes(sql);
  await sql({ text: 'select from backup_log_heads where backupid = $1 for key share', values: [backupId] });
  const [gone] = await sql<{ count: string }>({
    text: `with gone as (delete from backup_logs where backupid = $1 and id between $2 and $3 returning 1) select count(*) from gone`,
    values: [backupId, from, to],
  });
  if (BigInt(gone!.count) !== to - from + 1n || !(await keepObject(sql, backupId, object.key))) throw new Changed();
  await sql({
    text: `insert into backup_log_segments
        (backupid, firstid, lastid, key, checksum, bytes, levels, firstseconds, firstmicros, lastmicros, proof)
      values ($1, $2, $3, $4, $5, $6, $7::jsonb, $8, $9, $10, $11)`,
    values: [
      backupId,
      from,
      to,
      object.key,
      object.checksum,
      object.bytes,
      JSON.stringify(levels),
      first.seconds,
      appendedAt(first),
      appendedAt(last),
      fingerprint(last),
    ],
  });
  const moved = await sql({
    text: `update backup_log_heads set movedid = $3
      where backupid = $1 and movedid = $4 and lastmicros = $5 and firstid <= $2 and sealedid >= $3 and lastid > $3 returning 1`,
    values: [backupId, from, to, movedId, lastMicros],
  });
  if (moved.length === 0) throw new Changed();
}

/** That are rows of the database and objects of this process at the same time. */
const AT_ONCE = 1000n;

/** Of one segment: bounds what a look at it costs when its texts are short. */
const MOST_ENTRIES = 20_000n;

/** How long an object may be on its way, so that one that was announced and is part of no log goes after that: S3 takes a request for so long after it was signed. */
const ARRIVING_SECONDS = 900;
