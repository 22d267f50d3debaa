import { requireCluster } from './cluster.ts';
import type { Sql } from './sql.ts';

/**
 * The tables that are distributed by `backupid`, co-located: what belongs to a log, so that the head of a log and its entries are on one node.
 * A transaction that writes on several nodes becomes visible on one of them before the others; a head that is not where its entries are would
 * tell of some that nobody can read yet. Every key begins with the backup id, so nothing has to be unique beyond a shard.
 *
 * The others are local tables of the coordinator, as they are on `plain`. Controllers, exclusives and course runs have a row for a run, which is
 * small beside its log, and there is one queue of them: whoever claims locks what is due with SKIP LOCKED, which Citus refuses over several
 * shards, and joins controllers with courses, which are of another key. Their `id` counts over all of them. Courses, settings, imports and kept
 * answers to requests are found by other keys. The row of a payload becomes visible with the controller whose payload it is.
 */
export const DISTRIBUTED = [
  'backup_log_heads',
  'backup_logs',
  'backup_log_requests',
  'backup_log_writers',
  'backup_log_segments',
  'backup_payload_chunks',
] as const;

/** An empty table of the coordinator that Citus knows of: what `onAllNodes` changes nothing in. */
export const COMMITTED = 'backup_committed_together';

export function isDistributed(table: string): boolean {
  return (DISTRIBUTED as readonly string[]).includes(table);
}

/** Distributes these tables, which are empty, so that what is of one log is on one node. Part of a transaction. */
export async function distribute(sql: Sql, tables: readonly string[]): Promise<void> {
  await requireCluster(sql);
  const [first, ...others] = tables;
  await sql({ text: `select create_distributed_table($1, 'backupid', colocate_with => 'none')`, values: [first] });
  for (const table of others)
    await sql({ text: `select create_distributed_table($1, 'backupid', colocate_with => $2)`, values: [table, first] });
  await sql({ text: `create table ${COMMITTED} (nothing boolean)`, values: [] });
  await sql({ text: 'select citus_add_local_table_to_metadata($1)', values: [COMMITTED] });
}

/** Takes away what else `distribute` has made. Part of a transaction. */
export async function gathered(sql: Sql): Promise<void> {
  await sql({ text: `drop table if exists ${COMMITTED}`, values: [] });
}
