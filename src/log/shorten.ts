import { onCitus } from '../db/engine.ts';
import { eachShard } from '../db/shard.ts';
import type { Sql } from '../db/sql.ts';
import { shortenSegments } from '../segment/shorten.ts';
import { deleteLocked, lockWriters } from './head.ts';
import { least } from './limits.ts';
import type { MovedFront } from './moved-front.ts';

/** A log of which so many of its oldest entries may be removed. */
export type Front = { backupId: string; entries: bigint };

/**
 * How many of them are old, and how many of those were removed here: others may have been faster. One that was `moved` meanwhile in a way that nobody
 * has looked at is as it was: none of it is known to be old.
 */
export type Shortened = { backupId: string; old: bigint; removed: bigint; moved: boolean };

/**
 * Removes the oldest entries of logs, up to the first one that was not written before `before` (epoch seconds; undefined: all of them). Tails
 * that had them to deliver are told that they are gone. Part of a transaction.
 *
 * Appends do not wait for it: until the entries are gone the heads are only locked against deletion, and then `firstid` is moved, just before the
 * commit. (With the heads locked from the start, appends to a log of which 300,000 entries went had a median of 17 ms instead of 8.5, and a 99th
 * percentile of 94 instead of 40, where they had 6 and 38 without a purge.) Whoever shortens the same log at the same time waits for the
 * entries and finds them gone; `firstid` never goes backwards.
 *
 * Of a log that begins in a segment `moved` says how far it is old; without that it stays as it is, unless all that is in segments may go.
 */
export async function shortenLogs(
  sql: Sql,
  fronts: Front[],
  before: bigint | undefined,
  moved: MovedFronts = NONE,
): Promise<Shortened[]> {
  const shortened: (Shortened & { upTo: bigint })[] = [];
  const old = await readOld(sql, fronts, { before, moved }, 'order by backupid for key share');
  const outdated = old.filter(log => log.outdated).map(({ backupId }) => backupId);
  for (const { backupId, firstId, upTo, movedId } of old.filter(log => !log.outdated)) {
    // A statement for each log, with plain bounds: in one for many that is joined with them, the plan of the deletion hangs on statistics.
    const [gone] = await sql<{ removed: string }>({
      name: 'log-shorten',
      text: `with gone as (delete from backup_logs where backupid = $1 and id >= $2 and id < $3 returning 1)
        select count(*) as removed from gone`,
      values: [backupId, firstId, upTo],
    });
    const rows = BigInt(gone!.removed);
    const inSegments = movedId >= firstId || rows < upTo - firstId;
    // Also what has left the table while it was waited for: by those who move, or those who shorten, too.
    const fromSegments = inSegments ? await shortenSegments(sql, backupId, upTo, moved.get(backupId)?.rest) : 0n;
    if (fromSegments !== undefined) {
      shortened.push({ backupId, old: upTo - firstId, removed: rows + fromSegments, moved: false, upTo });
    } else if (rows === 0n) {
      outdated.push(backupId);
    } else {
      throw new Error(`nobody has looked at what is left of ${backupId} from ${upTo}`);
    }
  }
  await moveHeads(sql, shortened);
  return [...shortened, ...outdated.map(backupId => ({ backupId, old: 0n, removed: 0n, moved: true }))];
}

async function moveHeads(sql: Sql, logs: { backupId: string; upTo: bigint }[]): Promise<void> {
  if (onCitus()) {
    for (const { backupId, upTo } of logs)
      await sql({
        text: 'update backup_log_heads set firstid = greatest(firstid, $2) where backupid = $1',
        values: [backupId, upTo],
      });
    return;
  }
  await sql({
    text: `with log as materialized (
        select h.backupid, given.upto from backup_log_heads h
        join unnest($1::varchar[], $2::bigint[]) as given (backupid, upto) on given.backupid = h.backupid
        order by h.backupid for no key update of h
      )
      update backup_log_heads h set firstid = greatest(firstid, log.upto) from log where h.backupid = log.backupid`,
    values: [logs.map(({ backupId }) => backupId), logs.map(({ upTo }) => upTo)],
  });
}

/** How many of the oldest entries of each log are old, as `shortenLogs` would find them; a log that has none is left out. */
export async function countOld(
  sql: Sql,
  fronts: Front[],
  before: bigint | undefined,
  moved: MovedFronts,
): Promise<Map<string, bigint>> {
  const old = await readOld(sql, fronts, { before, moved }, '');
  return new Map(old.map(({ backupId, firstId, upTo }) => [backupId, upTo - firstId]));
}

/**
 * Deletes those of these logs as a whole, with what is remembered of their appends and writers, that have no controller, no entries, and since
 * `before` (epoch seconds; undefined: whenever) no append; returns which they were. Part of a transaction.
 */
export async function deleteForsaken(sql: Sql, backupIds: string[], before: bigint | undefined): Promise<string[]> {
  if (backupIds.length === 0) return [];
  await lockWriters(sql, backupIds);
  const heads = onCitus()
    ? await forsakenApart(sql, backupIds, before)
    : await sql<{ backupid: string }>({
        text: `select backupid from backup_log_heads h
      where backupid = any ($1) and firstid > lastid and ($2::bigint is null or lastmicros < $2 * 1000000)
        and not exists (select from backup_controllers c where c.backupid = h.backupid)
      order by backupid for update`,
        values: [backupIds, before ?? null],
      });
  const forsaken = heads.map(({ backupid }) => backupid);
  if (forsaken.length > 0) await deleteLocked(sql, forsaken);
  return forsaken;
}

/** Up to which id, not included, the oldest entries of each log are old, unless there are none. */
async function readOld(
  sql: Sql,
  fronts: Front[],
  { before, moved }: { before: bigint | undefined; moved: MovedFronts },
  locking: string,
): Promise<Old[]> {
  const limits = new Map(fronts.map(({ backupId, entries }) => [backupId, entries]));
  const heads = await eachShard<{
    backupid: string;
    firstid: string;
    lastid: string;
    movedid: string;
    lastmicros: string;
  }>(sql, [...limits.keys()], {
    text: `select backupid, firstid, lastid, movedid, lastmicros from backup_log_heads
      where backupid = any ($1) and firstid <= lastid ${locking}`,
    values: [],
  });
  const within = heads.map(({ backupid, firstid, lastid, movedid, lastmicros }) => ({
    backupId: backupid,
    firstId: BigInt(firstid),
    upTo: least(BigInt(firstid) + limits.get(backupid)!, BigInt(lastid) + 1n),
    movedId: BigInt(movedid),
    inSegments: BigInt(movedid) >= BigInt(firstid),
    // Nothing was appended since, so it does not matter what its writers said. 0 is not known.
    silent: lastmicros !== '0' && BigInt(lastmicros) < (before ?? 0n) * 1_000_000n,
    outdated: false,
  }));
  for (const log of within) if (log.inSegments) cutMoved(log, moved.get(log.backupId), before);
  const some = within.filter(log => log.upTo > log.firstId || log.outdated);
  if (before === undefined) return some;
  const kept = await firstKept(
    sql,
    some.filter(log => !log.silent && log.upTo > log.movedId + 1n),
    before,
  );
  return some
    .map(log => ({ ...log, upTo: kept.get(log.backupId) ?? log.upTo }))
    .filter(log => log.upTo > log.firstId || log.outdated);
}

/** `outdated` when it has been moved since somebody looked how old it is. */
type Old = {
  backupId: string;
  firstId: bigint;
  upTo: bigint;
  movedId: bigint;
  inSegments: boolean;
  outdated: boolean;
};

/** Not beyond what is known to be old in segments. */
function cutMoved(log: Old, front: MovedFront | undefined, before: bigint | undefined): void {
  const holds = front?.firstId === log.firstId && front.movedId === log.movedId;
  if (holds) log.upTo = front.upTo > log.movedId ? log.upTo : front.upTo;
  else if (before !== undefined || log.upTo <= log.movedId) {
    log.upTo = log.firstId;
    log.outdated = true;
  }
}

/** By backup id, of those that begin in a segment. */
type MovedFronts = ReadonlyMap<string, MovedFront>;

const NONE: MovedFronts = new Map();

/** The first entry within these bounds of each log that is not old, if there is one. */
async function firstKept(sql: Sql, logs: Old[], before: bigint): Promise<Map<string, bigint>> {
  if (onCitus()) return firstKeptApart(sql, logs, before);
  const rows = await sql<{ backupid: string; id: string | null }>({
    text: `select log.backupid, (
        select id from backup_logs l
        where l.backupid = log.backupid and id >= log.firstid and id < log.upto and created_at >= $4 order by id limit 1) as id
      from unnest($1::varchar[], $2::bigint[], $3::bigint[]) as log (backupid, firstid, upto)`,
    values: [logs.map(log => log.backupId), logs.map(log => log.firstId), logs.map(log => log.upTo), before],
  });
  return new Map(rows.flatMap(({ backupid, id }) => (id === null ? [] : [[backupid, BigInt(id)]])));
}

async function firstKeptApart(sql: Sql, logs: Old[], before: bigint): Promise<Map<string, bigint>> {
  const kept = new Map<string, bigint>();
  for (const { backupId, firstId, upTo } of logs) {
    const [row] = await sql<{ id: string }>({
      text: `select id from backup_logs
        where backupid = $1 and id >= $2 and id < $3 and created_at >= $4 order by id limit 1`,
      values: [backupId, firstId, upTo, before],
    });
    if (row) kept.set(backupId, BigInt(row.id));
  }
  return kept;
}

/** Citus joins no controllers, which are on its coordinator, with heads that it locks. */
async function forsakenApart(
  sql: Sql,
  backupIds: string[],
  before: bigint | undefined,
): Promise<{ backupid: string }[]> {
  const heads = await eachShard<{ backupid: string }>(sql, backupIds, {
    text: `select backupid from backup_log_heads
      where backupid = any ($1) and firstid > lastid and ($2::bigint is null or lastmicros < $2 * 1000000) for update`,
    values: [before ?? null],
  });
  const owned = await sql<{ backupid: string }>({
    text: 'select backupid from backup_controllers where backupid = any ($1)',
    values: [heads.map(({ backupid }) => backupid)],
  });
  const owners = new Set(owned.map(({ backupid }) => backupid));
  return heads.filter(({ backupid }) => !owners.has(backupid));
}
