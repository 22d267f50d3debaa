import type { StoredLevel } from './entity.ts';

/** A segment as its row has it. */
export type SegmentRow = {
  backupId: string;
  firstId: bigint;
  lastId: bigint;
  key: string;
  checksum: Buffer;
  levels: StoredLevel[];
  firstMicros: bigint;
  lastMicros: bigint;
  proof: string;
};

/** Of `backup_log_segments s`; `toSegmentRow` reads them. */
export const segmentColumns = `s.backupid as segment_of, s.firstid as segment_first, s.lastid as segment_last, s.key, s.checksum, s.levels,
  s.firstmicros as segment_from, s.lastmicros as segment_to, s.proof as segment_proof`;

/** The same columns where there is no segment: names and types of a union. */
export const NO_SEGMENT = `null::varchar as segment_of, null::bigint as segment_first, null::bigint as segment_last, null::varchar as key,
  null::bytea as checksum, null::jsonb as levels, null::bigint as segment_from, null::bigint as segment_to, null::varchar as segment_proof`;

/** Undefined where there is none. */
export function toSegmentRow(row: Record<string, unknown>): SegmentRow | undefined {
  if (row['segment_of'] === null) return undefined;
  return {
    backupId: row['segment_of'] as string,
    firstId: BigInt(row['segment_first'] as string),
    lastId: BigInt(row['segment_last'] as string),
    key: row['key'] as string,
    checksum: row['checksum'] as Buffer,
    levels: row['levels'] as StoredLevel[],
    firstMicros: BigInt(row['segment_from'] as string),
    lastMicros: BigInt(row['segment_to'] as string),
    proof: row['segment_proof'] as string,
  };
}
