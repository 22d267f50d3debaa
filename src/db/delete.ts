import type { Pool } from 'pg';
import { isDistributed } from './citus.ts';
import { onCitus } from './engine.ts';

/**
 * Deletes the rows that meet a condition, and returns how many they were. In batches, each a transaction of its own, and past whatever another
 * replica is deleting: every replica may do this, and none waits for another. A place in a table (`ctid`) is one in each of its partitions.
 */
export async function deleteInBatches(
  pool: Pool,
  { table, where, values }: { table: string; where: string; values: unknown[] },
  signal: AbortSignal,
): Promise<number> {
  let total = 0;
  // Rows of several shards cannot be locked to pass over those of others. What is deleted twice is deleted once.
  if (onCitus() && isDistributed(table))
    return (await pool.query(`delete from ${table} where ${where}`, values)).rowCount ?? 0;
  for (let deleted = BATCH; deleted === BATCH && !signal.aborted; total += deleted) {
    const { rowCount } = await pool.query(
      `with old as materialized (select tableoid, ctid from ${table} where ${where} limit ${BATCH} for update skip locked)
       delete from ${table} where ctid = any (array(select ctid from old)) and (tableoid, ctid) in (select tableoid, ctid from old)`,
      values,
    );
    deleted = rowCount ?? 0;
  }
  return total;
}

const BATCH = 1000;
