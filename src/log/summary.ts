import type { Archive, Logs } from '../segment/archive.ts';
import type { StoredLevel } from '../segment/entity.ts';
import { NO_SEGMENT, type SegmentRow, segmentColumns, toSegmentRow } from '../segment/row.ts';
import { isWanted, levelsOf, share, type Wanted } from '../segment/summary.ts';
import { ascending } from '../timestamps.ts';
import { matching } from './list.ts';

/** Entries of one level. Times are in nanoseconds since the epoch. */
export type LevelCount = { level: number; count: bigint; first: bigint; last: bigint };

/**
 * The entries of these logs by level, and how many of the logs have any. There is no way but to read them all: seven million of one log take
 * some 4 s, by several processes of PostgreSQL where it has them, and ten million of a cold disk may take longer than a call. What has left the table is
 * counted by what is written down of it.
 */
export async function countLevels(
  { pool, archive }: Logs,
  backupIds: string[],
  filter: Wanted,
): Promise<{ levels: LevelCount[]; logs: bigint }> {
  const values: unknown[] = [];
  const given = (value: unknown) => `$${values.push(value)}`;
  const logs = given(backupIds);
  const wanted = { from: undefined, to: undefined, text: '', ...filter };
  const conditions = [`backupid = any(${logs}::varchar[])`, ...matching(wanted, given)];
  // One pass that PostgreSQL can divide: with the logs counted by `count(distinct)` over all entries it took 10 s.
  // Segments with it: of another moment, or of another server where there are several to read from, they would not fit what is in the table.
  const { rows } = await pool.query(
    `select ${NO_SEGMENT}, backupid, loglevel, count(*) as count, ${extreme('least', 'min')} as first, ${extreme('greatest', 'max')} as last
     from backup_logs where ${conditions.join(' and ')} group by backupid, loglevel
     union all
     select ${segmentColumns}, null, null, null, null, null from backup_log_segments s where backupid = any(${logs}::varchar[])`,
    values,
  );
  const segments = rows.flatMap(row => toSegmentRow(row) ?? []);
  const inTable = rows.filter(row => row.segment_of === null);
  const all: (StoredLevel & { backupid: string })[] = await countMoved(archive, segments, filter);
  for (const row of inTable) all.push({ ...row, level: row.loglevel, count: Number(row.count) });
  const levels = [...Map.groupBy(all, ({ level }) => level)].map(([level, some]) => ({
    level,
    count: some.reduce((sum, { count }) => sum + BigInt(count), 0n),
    first: ascending(some.map(({ first }) => BigInt(first)))[0]!,
    last: ascending(some.map(({ last }) => BigInt(last))).at(-1)!,
  }));
  return { levels, logs: BigInt(new Set(all.map(({ backupid }) => backupid)).size) };
}

/** What has left the table. Only segments at the edge of a window are read. */
async function countMoved(archive: Archive, segments: SegmentRow[], filter: Wanted) {
  const counted = [];
  for (const row of segments) {
    const part = share(row.levels, filter);
    if (part === 'none') continue;
    const segment = part === 'some' ? await archive.open(row) : undefined;
    // One that was removed meanwhile, with its log or by retention, counts no more.
    if (part === 'some' && !segment) continue;
    const levels = segment
      ? levelsOf(segment.entries(row.firstId, row.lastId).filter(entry => isWanted(entry, filter)))
      : row.levels;
    counted.push(...levels.map(level => ({ ...level, backupid: row.backupId })));
  }
  return counted;
}

// In 64 bits as far as they go, to the year 2255: numbers of any length for all take half as long again.
function extreme(ofBoth: string, of: string): string {
  const parts = [
    `${of}(created_at * 1000000000 + created_nanos) filter (where created_at < 9000000000)`,
    `${of}(created_at::numeric * 1000000000 + created_nanos) filter (where created_at >= 9000000000)`,
  ];
  return `${ofBoth}(${parts.join(', ')})`;
}
