import { headsOf } from '../db/shard.ts';
import type { Position } from '../log/entry.ts';
import { ALL_LEVELS } from '../log/page.ts';
import type { Archive, Logs } from '../segment/archive.ts';
import type { SegmentRow } from '../segment/row.ts';
import type { MovedEntry } from '../segment/segment.ts';
import { isWanted, share, type Wanted } from '../segment/summary.ts';

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
  logs: Logs,
  backupIds: readonly string[],
  start: Start,
  maxLevel: number,
): Promise<Map<string, Position>> {
  if (start.from === 'positions') return new Map(start.positions);
  const found = start.from === 'beginning' ? [] : await firstIds(logs, backupIds, start, maxLevel);
  const known = new Map(found.map(row => [row.backupid, BigInt(row.id) - 1n]));
  return new Map(backupIds.map(id => [id, { id: known.get(id) ?? 0n, fingerprint: '' }]));
}

/** The first id to deliver, and how many there are from there on that match; up to which id entries have left the table, or 0. */
type First = { backupid: string; id: bigint; found: number; movedid: bigint };

// Both ask for the first id to deliver, in one statement with the head: where nothing matches, it is the id that comes next.
async function firstIds(
  { pool, archive }: Logs,
  backupIds: readonly string[],
  start: PlainStart & { from: 'last' | 'time' },
  maxLevel: number,
): Promise<First[]> {
  const { wanted, own, $1 } = headsOf(backupIds);
  if (start.from === 'last' && start.entries > 0) {
    const { rows } = await pool.query(
      `select h.backupid, coalesce(min(l.id), h.lastid + 1) as id, count(l.id) as found, ${MOVED}
       from backup_log_heads h left join lateral (
         select id from backup_logs where ${own} and loglevel <= $2 order by id desc limit $3
       ) l on true
       where ${wanted} group by h.backupid`,
      [$1, maxLevel, start.entries],
    );
    return Promise.all(rows.map(toFirst).map(first => lastMoved(archive, first, start.entries, maxLevel)));
  }
  const since = start.from === 'time' ? start : undefined;
  const { rows } = await pool.query(
    `select h.backupid, coalesce(
       (select id from backup_logs
        where ${own} and (created_at, created_nanos) >= ($2::bigint, $3::int) order by id limit 1),
       h.lastid + 1) as id, 0 as found, ${MOVED}
     from backup_log_heads h where ${wanted}`,
    [$1, since?.seconds ?? null, since?.nanos ?? null],
  );
  const firsts = rows.map(toFirst);
  return since ? Promise.all(firsts.map(first => firstMoved(archive, first, since))) : firsts;
}

const MOVED = 'case when h.movedid >= h.firstid then h.movedid else 0 end as movedid';

function toFirst(row: { backupid: string; id: string; found: string; movedid: string }): First {
  return { backupid: row.backupid, id: BigInt(row.id), found: Number(row.found), movedid: BigInt(row.movedid) };
}

/** Goes on from what the table has back to where there are so many. */
async function lastMoved(archive: Archive, first: First, entries: number, maxLevel: number): Promise<First> {
  const { backupid, movedid } = first;
  if (movedid === 0n || first.found === entries) return first;
  let { id, found } = first;
  for (const row of (await archive.rowsOf(new Map([[backupid, movedid]]))).toReversed()) {
    const matching = row.levels.reduce((sum, { level, count }) => (level <= maxLevel ? sum + count : sum), 0);
    if (matching === 0) continue;
    // The first one that matches is not known without a look.
    if (found + matching < entries || (found + matching === entries && maxLevel === ALL_LEVELS)) {
      found += matching;
      id = row.firstId;
      if (found === entries) break;
      continue;
    }
    const wanted = await wantedIn(archive, row, { maxLevel }, true);
    for (const entry of wanted.take(entries - found)) id = entry.id;
    break;
  }
  return { ...first, id, found };
}

/** The first entry of the time or later, if it has left the table: it comes before those that have not. */
async function firstMoved(archive: Archive, first: First, since: { seconds: bigint; nanos: number }): Promise<First> {
  const { backupid, movedid } = first;
  if (movedid === 0n) return first;
  for (const row of await archive.rowsOf(new Map([[backupid, movedid]]))) {
    const filter = { maxLevel: ALL_LEVELS, from: since };
    const part = share(row.levels, filter);
    if (part === 'none') continue;
    if (part === 'all') return { ...first, id: row.firstId };
    const [entry] = (await wantedIn(archive, row, filter)).take(1);
    if (entry) return { ...first, id: entry.id };
  }
  return first;
}

/** None when it was removed meanwhile, with its log or by retention. */
async function wantedIn(
  archive: Archive,
  row: SegmentRow,
  wanted: Wanted,
  newestFirst = false,
): Promise<IteratorObject<MovedEntry>> {
  const segment = await archive.open(row);
  const entries = segment?.entries(row.firstId, row.lastId, newestFirst) ?? [].values();
  return entries.filter(entry => isWanted(entry, wanted));
}
