import { COMMITTED } from './citus.ts';
import { onCitus } from './engine.ts';
import type { Row, Sql, Statement } from './sql.ts';

/**
 * Runs a statement about the logs `$1`, an array of backup ids; its other parameters come behind. On Citus for one log after the other, in the
 * order of their ids: it locks no rows of several shards in one statement.
 */
export async function eachShard<R = Row>(sql: Sql, backupIds: readonly string[], statement: Statement): Promise<R[]> {
  const { values } = statement;
  if (!onCitus()) return sql<R>({ ...statement, values: [backupIds, ...values] });
  const rows: R[] = [];
  for (const backupId of [...backupIds].sort())
    rows.push(...(await sql<R>({ ...statement, values: [[backupId], ...values] })));
  return rows;
}

/**
 * How a statement says that it is about the logs `$1` with the heads `h`, and that rows are of the log of a head. On Citus it goes to the shard of a
 * single log only if its id stands everywhere; several logs are asked of all shards at once.
 */
export function headsOf(backupIds: readonly string[]): { wanted: string; own: string; $1: unknown } {
  if (onCitus() && backupIds.length === 1) return { wanted: 'h.backupid = $1', own: 'backupid = $1', $1: backupIds[0] };
  return { wanted: 'h.backupid = any($1::varchar[])', own: 'backupid = h.backupid', $1: backupIds };
}

/**
 * Has all nodes commit a transaction or none: one that changes logs, and on the coordinator what has to agree with them. Citus knows nothing of
 * tables that are the coordinator's own: where only one other node is changed, it has that commit first, in one phase, and a coordinator that
 * breaks then has forgotten its half. With a statement that could change a table that it knows of there, it commits in two phases.
 */
export async function onAllNodes(sql: Sql): Promise<void> {
  if (onCitus()) await sql({ name: 'on-all-nodes', text: `delete from ${COMMITTED} where false`, values: [] });
}
