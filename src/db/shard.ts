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
