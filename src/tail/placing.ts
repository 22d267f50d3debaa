import type { Pool } from 'pg';
import { type Active, readIdsAt, readRange } from '../log/active.ts';
import { type Head, matchesRun, type RunFilter, readHeads } from '../log/head.ts';
import type { Logs } from '../segment/archive.ts';
import { END, Places, type Region } from './places.ts';
import { type PlainStart, startPositions } from './start.ts';
import { WatchedLog } from './watched.ts';

export type WideRequest = {
  /** Absent: all logs, those without a controller too. */
  filter: RunFilter | undefined;
  start: PlainStart | { from: 'places'; places: Places };
  maxLevel: number;
  follow: boolean;
};

/** Where a tail of many logs starts, by what was active when it came. */
export async function beginPlaces(
  pool: Pool,
  { start, filter }: Pick<WideRequest, 'start' | 'filter'>,
  { at, lastIds }: Active,
  transactionMs: number,
): Promise<Places> {
  const settled = settledAt(at, transactionMs);
  if (start.from === 'places') return Places.resumed(settled, start.places);
  if (start.from !== 'last' || start.entries > 0)
    return new Places(settled, [{ upTo: END, at: settled, start, lastIds }]);
  // Only what is new: what has grown lately goes on where it stood.
  const places = new Places(settled, []);
  places.cursor = END;
  const heads = filter && (await readHeads(pool, [...lastIds.keys()]));
  for (const [backupId, id] of lastIds) {
    if (heads && !matchesRun(filter, heads.get(backupId)!)) continue;
    places.positions.set(backupId, { position: { id, fingerprint: '' }, lastMicros: at, createdAt: at / 1_000_000n });
  }
  return places;
}

/** Whatever becomes visible only after that was looked at a time has begun later than this; both in epoch microseconds. */
export function settledAt(at: bigint, transactionMs: number): bigint {
  return at - BigInt(transactionMs) * 1000n;
}

/** The next logs that match of those that the tail has yet to come to, with their positions. */
export async function readOn(
  source: Logs,
  places: Places,
  { filter, maxLevel }: Pick<WideRequest, 'filter' | 'maxLevel'>,
): Promise<WatchedLog[]> {
  const { upTo, at, start } = places.region!;
  const range = { after: places.cursor, upTo, since: start ? undefined : at };
  const heads = await readRange(source.pool, range, filter, LOGS);
  const logs = [...heads].map(([backupId, head]) => new WatchedLog(backupId, head));
  await placeLogs(source, places, logs, filter, maxLevel);
  places.reach(logs.length < LOGS ? upTo : logs.at(-1)!.backupId);
  return logs;
}

/** Gives positions to those of the logs that match and have none yet. */
export async function placeLogs(
  source: Logs,
  places: Places,
  logs: WatchedLog[],
  filter: RunFilter | undefined,
  maxLevel = 0,
): Promise<void> {
  const without = logs.filter(({ backupId, head }) => !places.positions.has(backupId) && matchesRun(filter, head!));
  if (without.length === 0) return;
  const { backupId } = without[0]!;
  // All of them are either reached, or the next ones of one region.
  const region = places.regionOf(backupId);
  const began = await readStarts(source, without, region, filter, maxLevel);
  for (const { backupId, head } of without) {
    const id = began.get(backupId)!;
    const createdAt = head!.run?.createdAt ?? 0n;
    places.positions.set(backupId, { position: { id, fingerprint: '' }, lastMicros: head!.lastMicros, createdAt });
  }
}

/** The ids behind which to begin. */
async function readStarts(
  source: Logs,
  logs: WatchedLog[],
  { at, start, lastIds, passed }: Region,
  filter: RunFilter | undefined,
  maxLevel: number,
): Promise<Map<string, bigint>> {
  const backupIds = logs.map(log => log.backupId);
  if (start?.from === 'beginning') return new Map(backupIds.map(id => [id, 0n]));
  const then = await readIdsAt(source, backupIds, at);
  const asked = start && (await startPositions(source, backupIds, start, maxLevel));
  return new Map(logs.map(({ backupId, head }) => [backupId, startOf(backupId, head!)]));

  function startOf(backupId: string, head: Head): bigint {
    // What a new run has logged before it was created belongs to it.
    if (!start && filter && head.run!.createdAt >= at / 1_000_000n) return 0n;
    // Of what was removed since then nobody knows any more whether it was delivered: who comes back is told, who was here has had it.
    const reached = lastIds?.get(backupId) ?? then.get(backupId) ?? (start || passed ? head.firstId - 1n : 0n);
    // What has come since the tail began is new, whatever its start leaves out.
    const from = asked?.get(backupId)?.id;
    return from !== undefined && from < reached ? from : reached;
  }
}

const LOGS = 500;
