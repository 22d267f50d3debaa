import { createHash } from 'node:crypto';
import { setImmediate } from 'node:timers/promises';
import { promisify } from 'node:util';
import { constants, zstdCompress, zstdDecompress } from 'node:zlib';
import { create, fromBinary } from '@bufbuild/protobuf';
import { sizeDelimitedEncode, sizeDelimitedPeek } from '@bufbuild/protobuf/wire';
import { SegmentEntrySchema, type SegmentHeader, SegmentHeaderSchema } from '../gen/backup/segment/v1/segment_pb.ts';
import { type MovedEntry, Segment } from './segment.ts';
import { levelsOf } from './summary.ts';

const compress = promisify(zstdCompress);
const decompress = promisify(zstdDecompress);

/** The object of these entries, whose ids follow each other. The event loop is given back now and then meanwhile. */
export async function encodeSegment(backupId: string, entries: readonly MovedEntry[]): Promise<Buffer> {
  const encoded: Uint8Array[] = [];
  for (const [i, entry] of entries.entries()) {
    encoded.push(encodeEntry(entry));
    if (i % AT_ONCE === AT_ONCE - 1) await setImmediate();
  }
  const raw = Buffer.concat(encoded);
  const body = await compress(raw, { params: { [constants.ZSTD_c_compressionLevel]: 6 } });
  const header = headerOf(backupId, entries, raw.length, digest(body));
  return Buffer.concat([sizeDelimitedEncode(SegmentHeaderSchema, header), body]);
}

/** The entries of an object; throws when it is not what `encodeSegment` has made of this backup. */
export async function decodeSegment(backupId: string, object: Buffer): Promise<Segment> {
  const { offset, size } = sizeDelimitedPeek(object);
  if (size === null || offset + size > object.length) throw new Error('has no header');
  const header = fromBinary(SegmentHeaderSchema, object.subarray(offset, offset + size));
  if (header.format !== FORMAT) throw new Error(`is of format ${header.format}`);
  if (header.backupId !== backupId) throw new Error(`is of ${header.backupId}`);
  const body = object.subarray(offset + size);
  if (!digest(body).equals(header.entriesSha256)) throw new Error('is not what it was when it was made');
  const raw = await decompress(body, { maxOutputLength: Math.max(1, Number(header.entriesBytes)) });
  return new Segment(header.firstId, header.lastId, raw, endsOf(raw, header), decodeEntry);
}

/** The checksum of an object or a part of it. */
export function digest(bytes: Uint8Array): Buffer {
  return createHash('sha256').update(bytes).digest();
}

const FORMAT = 1;

/** Entries that are encoded without a break: a millisecond. */
const AT_ONCE = 500;

function encodeEntry({ level, message, seconds, nanos, attempt, appendedMicros }: MovedEntry): Uint8Array {
  const entry = create(SegmentEntrySchema, {
    level,
    message: Buffer.from(message as string),
    seconds: BigInt(seconds),
    nanos,
    attempt,
    ...(appendedMicros !== undefined && { appendedMicros }),
  });
  return sizeDelimitedEncode(SegmentEntrySchema, entry);
}

function decodeEntry(id: bigint, bytes: Buffer): MovedEntry {
  const { level, message, seconds, nanos, attempt, appendedMicros } = fromBinary(SegmentEntrySchema, bytes);
  const text = Buffer.from(message.buffer, message.byteOffset, message.length);
  return { id, level, message: text, seconds, nanos, attempt, appendedMicros };
}

function headerOf(
  backupId: string,
  entries: readonly MovedEntry[],
  entriesBytes: number,
  entriesSha256: Buffer,
): SegmentHeader {
  const levels = levelsOf(entries);
  const extreme = (of: (...times: number[]) => number, end: 'first' | 'last') =>
    BigInt(of(...levels.map(level => Number(BigInt(level[end]) / 1_000_000_000n))));
  return create(SegmentHeaderSchema, {
    format: FORMAT,
    backupId,
    firstId: BigInt(entries[0]!.id),
    lastId: BigInt(entries.at(-1)!.id),
    levels: levels.map(({ level, count }) => ({ level, count: BigInt(count) })),
    earliestSeconds: extreme(Math.min, 'first'),
    latestSeconds: extreme(Math.max, 'last'),
    entriesBytes: BigInt(entriesBytes),
    entriesSha256: new Uint8Array(entriesSha256),
  });
}

/** Where each entry ends; they are delimited by their lengths. */
function endsOf(raw: Buffer, { firstId, lastId }: SegmentHeader): { starts: Uint32Array; ends: Uint32Array } {
  const count = Number(lastId - firstId) + 1;
  const [starts, ends] = [new Uint32Array(count), new Uint32Array(count)];
  let at = 0;
  for (let i = 0; i < count; i++) {
    const { offset, size } = sizeDelimitedPeek(raw.subarray(at, at + 10));
    if (size === null) throw new Error('has fewer entries than it says');
    starts[i] = at + offset;
    at += offset + size;
    ends[i] = at;
  }
  if (at !== raw.length) throw new Error('has other entries than it says');
  return { starts, ends };
}
