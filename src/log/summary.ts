import type { Pool } from 'pg';
import { type ListFilter, matching } from './list.ts';

/** Entries of one level. Times are in nanoseconds since the epoch. */
export type LevelCount = { level: number; count: bigint; first: bigint; last: bigint };

/** The entries of these logs by level, and how many of the logs have any. */
export async function countLevels(
  pool: Pool,
  backupIds: string[],
  filter: Omit<ListFilter, 'newestFirst'>,
): Promise<{ levels: LevelCount[]; logs: bigint }> {
  const values: unknown[] = [];
  const given = (value: unknown) => `$${values.push(value)}`;
  const conditions = [`backupid = any(${given(backupIds)}::varchar[])`, ...matching(filter, given)];
  const { rows } = await pool.query(
    `with entry as (
       select backupid, loglevel, created_at::numeric * 1000000000 + created_nanos as at
       from backup_logs where ${conditions.join(' and ')}
     )
     select loglevel, count(*) as count, min(at) as first, max(at) as last, (select count(distinct backupid) from entry) as logs
     from entry group by loglevel`,
    values,
  );
  return {
    levels: rows.map(row => ({
      level: row.loglevel,
      count: BigInt(row.count),
      first: BigInt(row.first),
      last: BigInt(row.last),
    })),
    logs: BigInt(rows[0]?.logs ?? 0),
  };
}
