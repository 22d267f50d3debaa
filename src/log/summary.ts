import type { Pool } from 'pg';
import { ascending } from '../timestamps.ts';
import { type ListFilter, matching } from './list.ts';

/** Entries of one level. Times are in nanoseconds since the epoch. */
export type LevelCount = { level: number; count: bigint; first: bigint; last: bigint };

/**
 * The entries of these logs by level, and how many of the logs have any. There is no way but to read them all: seven million of one log take
 * some 4 s, by several processes of PostgreSQL where it has them, and ten million of a cold disk may take longer than a call.
 */
export async function countLevels(
  pool: Pool,
  backupIds: string[],
  filter: Omit<ListFilter, 'newestFirst'>,
): Promise<{ levels: LevelCount[]; logs: bigint }> {
  const values: unknown[] = [];
  const given = (value: unknown) => `$${values.push(value)}`;
  const conditions = [`backupid = any(${given(backupIds)}::varchar[])`, ...matching(filter, given)];
  // One pass that PostgreSQL can divide: with the logs counted by `count(distinct)` over all entries it took 10 s.
  const { rows } = await pool.query(
    `select backupid, loglevel, count(*) as count, ${extreme('least', 'min')} as first, ${extreme('greatest', 'max')} as last
     from backup_logs where ${conditions.join(' and ')} group by backupid, loglevel`,
    values,
  );
  const levels = [...Map.groupBy(rows, row => row.loglevel as number)].map(([level, some]) => ({
    level,
    count: some.reduce((sum, { count }) => sum + BigInt(count), 0n),
    first: ascending(some.map(row => BigInt(row.first)))[0]!,
    last: ascending(some.map(row => BigInt(row.last))).at(-1)!,
  }));
  return { levels, logs: BigInt(new Set(rows.map(row => row.backupid)).size) };
}

// In 64 bits as far as they go, to the year 2255: numbers of any length for all take half as long again.
function extreme(ofBoth: string, of: string): string {
  const parts = [
    `${of}(created_at * 1000000000 + created_nanos) filter (where created_at < 9000000000)`,
    `${of}(created_at::numeric * 1000000000 + created_nanos) filter (where created_at >= 9000000000)`,
  ];
  return `${ofBoth}(${parts.join(', ')})`;
}
