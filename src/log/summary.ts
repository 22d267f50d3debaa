import type { Pool } from 'pg';

/** Entries of one level. Times are in nanoseconds since the epoch. */
export type LevelCount = { level: number; count: bigint; first: bigint; last: bigint };

/** What entries to count: written from one time to before another, in nanoseconds since the epoch. */
export type Within = { from: bigint | undefined; to: bigint | undefined };

/** The entries of these logs by level, and how many of the logs have any. */
export async function countLevels(
  pool: Pool,
  backupIds: string[],
  { from, to }: Within,
): Promise<{ levels: LevelCount[]; logs: bigint }> {
  const nanos = 'created_at::numeric * 1000000000 + created_nanos';
  const { rows } = await pool.query(
    `with entry as (
       select backupid, loglevel, ${nanos} as at from backup_logs where backupid = any($1::varchar[])
     ), within as (
       select * from entry where ($2::numeric is null or at >= $2) and ($3::numeric is null or at < $3)
     )
     select loglevel, count(*) as count, min(at) as first, max(at) as last, (select count(distinct backupid) from within) as logs
     from within group by loglevel`,
    [backupIds, from ?? null, to ?? null],
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
