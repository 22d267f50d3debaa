import type { Archive } from '../segment/archive.ts';
import type { SegmentRow } from '../segment/row.ts';
import type { MovedEntry } from '../segment/segment.ts';
import { share } from '../segment/summary.ts';
import { Encoder } from './encode.ts';
import { fingerprint, type Position } from './entry.ts';
import { ENTRY_OVERHEAD, least, type PageRead, type PageWish } from './limits.ts';

type MovedWish = PageWish & {
  /** How far to look. */
  to: bigint;
  /** The last entry that is in a segment. */
  movedId: bigint;
  /** Whether the entry at the position is there, and has to be what it was. */
  toProve: boolean;
};

/** `readAfter` for a position of which the entries behind it, or the one at it, have left the table. A page ends with them at the latest. */
export async function readMovedAfter(
  archive: Archive,
  backupId: string,
  after: Position,
  { to, movedId, toProve, maxLevel, limits, field }: MovedWish,
): Promise<PageRead | 'cut' | 'diverged'> {
  const from = toProve ? after.id : after.id + 1n;
  const until = least(to, movedId);
  const rows = await archive.rows(backupId, { from, to: until > from ? until : from }, SEGMENTS);
  // Removed by now, with the log or by retention: the head says which.
  if (rows.length === 0 || rows[0]!.firstId > from) return 'cut';
  if (toProve) {
    const proof = await proofOf(archive, rows[0]!, after.id);
    if (proof === undefined) return 'cut';
    if (proof !== after.fingerprint) return 'diverged';
  }
  const encoder = new Encoder(field);
  let [end, bytes]: [Position, number] = [after, 0];
  pages: for (const row of rows) {
    if (end.id >= until) break;
    const upTo = least(row.lastId, until);
    if (upTo <= end.id) continue;
    if (share(row.levels, { maxLevel }) === 'none') {
      end = { id: upTo, fingerprint: upTo === row.lastId ? row.proof : '' };
      continue;
    }
    const segment = await archive.open(row);
    if (!segment) return 'cut';
    let last: MovedEntry | undefined;
    for (const entry of segment.entries(end.id + 1n, upTo)) {
      const wanted = entry.level <= maxLevel;
      if (wanted) bytes += entry.message.length + ENTRY_OVERHEAD;
      if (encoder.count === limits.entries || (wanted && encoder.count > 0 && bytes > limits.bytes)) {
        if (last) end = { id: last.id, fingerprint: fingerprint(last) };
        break pages;
      }
      if (wanted) encoder.add(entry);
      last = entry;
    }
    end = { id: last!.id, fingerprint: fingerprint(last!) };
  }
  return { entries: encoder.count, bytes: encoder.finish(), end };
}

async function proofOf(archive: Archive, row: SegmentRow, id: bigint): Promise<string | undefined> {
  if (row.lastId === id) return row.proof;
  const segment = await archive.open(row);
  return segment && fingerprint(segment.entry(id));
}

/** That a page looks at: of long entries there is one in each. */
const SEGMENTS = 32;
