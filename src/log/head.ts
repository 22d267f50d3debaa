import type { EntityManager } from '@mikro-orm/postgresql';
import type { Pool } from 'pg';
import { onCitus } from '../db/engine.ts';
import { eachShard, onAllNodes } from '../db/shard.ts';
import { type Sql, sqlIn } from '../db/sql.ts';
import { removeSegments } from '../segment/removal.ts';
import { readHeadsApart } from './apart.ts';
import { type Head, headColumns, toHead } from './head-row.ts';

export { type Head, headColumns, type Run, toHead } from './head-row.ts';

/** What a controller must be for its log to match; undefined is anything. */
export type RunFilter = {
  operation: string | undefined;
  type: string | undefined;
  itemId: bigint | undefined;
  userId: bigint | undefined;
  purposes: readonly number[] | undefined;
};

/** Whether the log of a run matches; without a filter all logs do. */
export function matchesRun(filter: RunFilter | undefined, { run }: Head): boolean {
  if (!filter) return true;
  const is = <T>(asked: T | undefined, value: T) => asked === undefined || asked === value;
  return (
    run !== undefined &&
    is(filter.operation, run.operation) &&
    is(filter.type, run.type) &&
    is(filter.itemId, run.itemId) &&
    is(filter.userId, run.userId) &&
    (!filter.purposes || filter.purposes.includes(run.purpose))
  );
}

/** The heads of these logs by backup id, all from one snapshot: every entry up to `lastId` is visible to whoever reads after this. */
export async function readHeads(pool: Pool, backupIds: readonly string[]): Promise<Map<string, Head>> {
  if (onCitus()) return readHeadsApart(pool, backupIds);
  const { rows } = await pool.query({
    name: 'heads',
    text: `
      select wanted.backupid, ${headColumns}
      from unnest($1::varchar[]) as wanted (backupid)
      left join backup_log_heads h on h.backupid = wanted.backupid
      left join backup_controllers c on c.backupid = wanted.backupid`,
    values: [backupIds],
  });
  return new Map(rows.map(row => [row.backupid, toHead(row)]));
}

/** Seals a log: writes down which entry was the last one when its run finished. Part of the transaction that finishes the run. */
export async function sealLog(em: EntityManager, backupId: string): Promise<void> {
  await onAllNodes(sqlIn(em));
  await em.execute(
    `insert into backup_log_heads as h (backupid, lastid, sealedid) values (?, 0, 0)
     on conflict (backupid) do update set sealedid = h.lastid`,
    [backupId],
  );
}

/** Opens a log again: its run is no longer finished. Part of the transaction that puts it back to work. */
export async function unsealLog(em: EntityManager, backupId: string): Promise<void> {
  await onAllNodes(sqlIn(em));
  await em.execute('update backup_log_heads set sealedid = null where backupid = ?', [backupId]);
}

/** Deletes logs and returns how many entries they had. Part of the transaction that deletes the runs. */
export async function deleteLogs(sql: Sql, backupIds: string[]): Promise<bigint> {
  await lockWriters(sql, backupIds);
  // The heads are locked first: that keeps out appends, which would otherwise leave entries without a head behind. The rest are statements of
  // their own, because this one may have begun before an append that it waits for has committed, and would not see its entries.
  const heads = await lockHeads(sql, backupIds);
  const locked = new Set(heads.map(({ backupid }) => backupid));
  const absent = backupIds.filter(backupId => !locked.has(backupId));
  if (absent.length > 0) {
    // Else a log that begins now would lose its first entries and keep its head.
    const begun = await sql<{ backupid: string }>({ text: BEGIN, values: [absent] });
    const own = new Set(begun.map(({ backupid }) => backupid));
    const others = absent.filter(backupId => !own.has(backupId));
    heads.push(...(await lockHeads(sql, others)));
  }
  await deleteLocked(sql, backupIds);
  return heads.reduce((sum, head) => sum + BigInt(head.entries), 0n);
}

/** Deletes logs whose writers and heads are locked. */
export async function deleteLocked(sql: Sql, backupIds: string[]): Promise<void> {
  await onAllNodes(sql);
  for (const table of ['backup_log_heads', 'backup_log_requests', 'backup_log_writers', 'backup_logs']) {
    await sql({ text: `delete from ${table} where backupid = any ($1)`, values: [backupIds] });
  }
  await removeSegments(sql, backupIds);
}

const BEGIN = `insert into backup_log_heads (backupid, lastid) select id, 0 from unnest($1::varchar[]) as id order by id
  on conflict do nothing returning backupid`;

/** Before heads, as writers lock them; one that comes later waits for its head, and begins a new log then. */
export async function lockWriters(sql: Sql, backupIds: string[]): Promise<void> {
  // Most logs have none, and Citus looks for all of them at once, but locks one after the other.
  const some = onCitus()
    ? await sql<{ backupid: string }>({
        text: 'select distinct backupid from backup_log_writers where backupid = any ($1)',
        values: [backupIds],
      })
    : undefined;
  await eachShard(sql, some ? some.map(({ backupid }) => backupid) : backupIds, {
    text: 'select from backup_log_writers where backupid = any ($1) order by backupid, writerid for update',
    values: [],
  });
}

async function lockHeads(sql: Sql, backupIds: string[]): Promise<{ backupid: string; entries: string }[]> {
  if (backupIds.length === 0) return [];
  return eachShard(sql, backupIds, {
    text: `select backupid, lastid - firstid + 1 as entries from backup_log_heads
      where backupid = any ($1) order by backupid for update`,
    values: [],
  });
}

/** How many entries these logs hold, and how many of them are rows of the table; one that does not exist is left out. */
export async function countEntries(
  sql: Sql,
  backupIds: string[],
): Promise<Map<string, { entries: bigint; rows: bigint }>> {
  const heads = await sql<{ backupid: string; entries: string; rows: string }>({
    text: `select backupid, lastid - firstid + 1 as entries, lastid - greatest(firstid - 1, movedid) as rows
      from backup_log_heads where backupid = any ($1)`,
    values: [backupIds],
  });
  return new Map(heads.map(head => [head.backupid, { entries: BigInt(head.entries), rows: BigInt(head.rows) }]));
}
