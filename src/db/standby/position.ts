import type { Sql } from '../sql.ts';

/** Of which history a log position is one: that of a database in a cluster, which changes its timeline when a standby takes over. */
type History = { database: string; timeline: string };

/** Where the primary stood at a time (`performance.now()`) or later: whatever was answered until then is in its log up to `flushed`. */
export type Mark = History & { at: number; flushed: bigint };

/** What a server has of that log, if it is a standby. */
export type Position = History & { standby: boolean; replayed: bigint };

/** Why a server is not read from: it has not come to a mark yet, is no standby (any more), or follows another history. */
export type Lack = 'BEHIND' | 'PROMOTED' | 'FOREIGN';

export function lackOf({ standby, database, timeline, replayed }: Position, mark: Mark): Lack | undefined {
  if (!standby) return 'PROMOTED';
  if (database !== mark.database || timeline !== mark.timeline) return 'FOREIGN';
  return replayed < mark.flushed ? 'BEHIND' : undefined;
}

/** Of the primary; an error while it is none. A commit is answered when it is flushed, so what is not flushed nobody counts on. */
export async function readMark(sql: Sql): Promise<Mark> {
  const at = performance.now();
  const [row] = await sql<{ database: string; timeline: string; flushed: string }>({
    name: 'standby-mark',
    text: `select ${DATABASE}, left(pg_walfile_name(flushed), 8) as timeline, flushed - '0/0' as flushed
      from pg_current_wal_flush_lsn() as flushed`,
    values: [],
  });
  return { ...row!, at, flushed: BigInt(row!.flushed) };
}

/** Of a server that is said to be a standby. Its timeline is that of its last restart point: after a failover it may take a while to show the new one. */
export async function readPosition(sql: Sql): Promise<Position> {
  const [row] = await sql<{ database: string; timeline: string; standby: boolean; replayed: string }>({
    name: 'standby-position',
    text: `select ${DATABASE}, pg_is_in_recovery() as standby, coalesce(pg_last_wal_replay_lsn() - '0/0', 0) as replayed,
        lpad(upper(to_hex(greatest(c.timeline_id, r.min_recovery_end_timeline))), 8, '0') as timeline
      from pg_control_checkpoint() c, pg_control_recovery() r`,
    values: [],
  });
  return { ...row!, replayed: BigInt(row!.replayed) };
}

// A cluster keeps its number over backups and failovers, and a database its own in all copies of the cluster.
const DATABASE = `(select system_identifier from pg_control_system()) || '/' ||
  (select oid from pg_database where datname = current_database()) as database`;
