import type { Archive, Logs } from '../segment/archive.ts';
import type { StoredLevel } from '../segment/entity.ts';
import type { SegmentRow } from '../segment/row.ts';
import { appendedAt } from '../segment/segment.ts';
import { levelsOf } from '../segment/summary.ts';
import { least } from './limits.ts';

/** How far the front of a log is old as far as it is in segments: found before the transaction, which is not to wait for a store. */
export type MovedFront = {
  /** Where the log stood then; when it stands elsewhere, nothing of this holds. */
  firstId: bigint;
  movedId: bigint;
  /** The first entry that is kept; behind `movedId` when all are old. */
  upTo: bigint;
  /** What is left of the segment in which it is, if not all. */
  rest: SegmentRest | undefined;
};

/** What the row of a segment says of the entries from `firstId` on. */
export type SegmentRest = {
  firstId: bigint;
  lastId: bigint;
  levels: StoredLevel[];
  firstSeconds: bigint;
  firstMicros: bigint;
};

/**
 * The fronts of those of these logs that begin in a segment. Of each up to so many entries, and up to the first one that was not written before
 * `before` (epoch seconds; undefined: all of them). Where a segment cannot be read at the moment, it is kept, unless `strict`.
 */
export async function movedFronts(
  { pool, archive }: Logs,
  fronts: readonly { backupId: string; entries: bigint }[],
  before: bigint | undefined,
  strict: boolean,
): Promise<Map<string, MovedFront>> {
  const { rows } = await pool.query(
    `select h.backupid, firstid, movedid, least(firstid + given.entries, lastid + 1) as upto, lastmicros
     from unnest($1::varchar[], $2::bigint[]) as given (backupid, entries) join backup_log_heads h on h.backupid = given.backupid
     where movedid >= firstid`,
    [fronts.map(({ backupId }) => backupId), fronts.map(({ entries }) => entries)],
  );
  const found = new Map<string, MovedFront>();
  for (const { backupid, firstid, movedid, upto, lastmicros } of rows) {
    const [firstId, movedId] = [BigInt(firstid), BigInt(movedid)];
    // As `shortenLogs` has it: where nothing was appended since, it does not matter what its writers said.
    const silent = lastmicros !== '0' && BigInt(lastmicros) < (before ?? 0n) * 1_000_000n;
    const segments = await archive.rows(backupid, { from: firstId, to: movedId }, Number.MAX_SAFE_INTEGER);
    const cut = await cutOf(archive, segments, BigInt(upto), silent ? undefined : before, strict);
    found.set(backupid, { firstId, movedId, upTo: cut?.firstId ?? movedId + 1n, rest: cut?.rest });
  }
  return found;
}

/** The first entry that is kept, unless none of these segments has it. */
async function cutOf(
  archive: Archive,
  segments: SegmentRow[],
  upTo: bigint,
  before: bigint | undefined,
  strict: boolean,
): Promise<{ firstId: bigint; rest: SegmentRest | undefined } | undefined> {
  for (const row of segments) {
    if (row.firstId >= upTo) return { firstId: row.firstId, rest: undefined };
    const old = before === undefined || row.levels.every(({ last }) => BigInt(last) < before * 1_000_000_000n);
    if (old && row.lastId < upTo) continue;
    const segment = await archive.open(row).catch((error: unknown) => {
      if (strict) throw error;
      return undefined;
    });
    if (!segment) return { firstId: row.firstId, rest: undefined };
    const limit = least(row.lastId, upTo - 1n);
    const kept = old ? undefined : segment.entries(row.firstId, limit).find(({ seconds }) => BigInt(seconds) >= before);
    const firstId = kept?.id ?? limit + 1n;
    if (firstId > row.lastId) continue;
    if (firstId === row.firstId) return { firstId, rest: undefined };
    const first = segment.entry(firstId);
    const rest = {
      firstId,
      lastId: row.lastId,
      levels: levelsOf(segment.entries(firstId, row.lastId)),
      firstSeconds: BigInt(first.seconds),
      firstMicros: appendedAt(first),
    };
    return { firstId, rest };
  }
  return undefined;
}
