import type { Pool } from 'pg';
import type { Position } from '../log/entry.ts';

/** Where a tail starts that has no positions yet. */
export type PlainStart =
  | { from: 'beginning' }
  /** With the last n entries that match. */
  | { from: 'last'; entries: number }
  /** With the first entry written at this time or later. */
  | { from: 'time'; seconds: bigint; nanos: number };

/** Where a tail starts. */
export type Start =
  | PlainStart
  /** After positions that are known already. */
  | { from: 'positions'; positions: ReadonlyMap<string, Position> };

/** The position in each log after which the tail starts. */
export async function startPositions(
  pool: Pool,
  backupIds: readonly string[],
  start: Start,
  maxLevel: number,
): Promise<Map<string, Position>> {
  if (start.from === 'positions') return new Map(start.positions);
  const found = start.from === 'beginning' ? [] : await firstIds(pool, backupIds, start, maxLevel);
  const known = new Map(found.map(row => [row.backupid, BigInt(row.id) - 1n]));
  return new Map(backupIds.map(id => [id, { id: known.get(id) ?? 0n, fingerprint: '' }]));
}

// Both ask for the first id to deliver, in one statement with the head: where nothing matches, it is the id that comes next.
async function firstIds(
  pool: Pool,
  backupIds: readonly string[],
  start: Start & { from: 'last' | 'time' },
  maxLevel: number,
): Promise<{ backupid: string; id: string }[]> {
  if (start.from === 'last' && start.entries > 0) {
    const { rows } = await pool.query(
      `select h.backupid, coalesce(min(l.id), h.lastid + 1) as id
       from backup_log_heads h left join lateral (
         select id from backup_logs where backupid = h.backupid and loglevel <= $2 order by id desc limit $3
       ) l on true
       where h.backupid = any($1::varchar[]) group by h.backupid`,
      [backupIds, maxLevel, start.entries],
    );
    return rows;
  }
  const [seconds, nanos] = start.from === 'time' ? [start.seconds, start.nanos] : [null, null];
  const { rows } = await pool.query(
    `select h.backupid, coalesce(
       (select id from backup_logs
        where backupid = h.backupid and (created_at, created_nanos) >= ($2::bigint, $3::int) order by id limit 1),
       h.lastid + 1) as id
     from backup_log_heads h where h.backupid = any($1::varchar[])`,
    [backupIds, seconds, nanos],
  );
  return rows;
}
