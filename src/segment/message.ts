import { createHash } from 'node:crypto';
import { promisify } from 'node:util';
import { constants, zstdCompress, zstdDecompress } from 'node:zlib';
import { create, fromBinary } from '@bufbuild/protobuf';
import { sizeDelimitedEncode, sizeDelimitedPeek } from '@bufbuild/protobuf/wire';
import { SegmentEntrySchema, type SegmentHeader, SegmentHeaderSchema } from '../gen/backup/segment/v1/segment_pb.ts';
import { ascending } from '../timestamps.ts';
import type { StoredLevel } from './entity.ts';
import { type MovedEntry, Segment } from './segment.ts';
import { Levels } from './summary.ts';

const compress = promisify(zstdCompress);
const decompress = promisify(zstdDecompress);

/** Makes an object of entries whose ids follow each other, as they come: only what they have become is kept. */
export class SegmentWriter {
  readonly #backupId: string;
  readonly #encoded: Buffer[] = [];
  readonly #levels = new Levels();
  /** Entries that have come. */
  count = 0;
  #first: MovedEntry | undefined;
  #last: MovedEntry | undefined;

  constructor(backupId: string) {
    this.#backupId = backupId;
  }

  add(entries: readonly MovedEntry[]): void {
    this.#encoded.push(Buffer.concat(entries.map(encodeEntry)));
    this.count += entries.length;
    for (const entry of entries) this.#levels.add(entry);
    this.#first ??= entries[0];
    this.#last = entries.at(-1) ?? this.#last;
  }

  /** There has to be an entry. */
  async finish(): Promise<{ object: Buffer; levels: StoredLevel[]; first: MovedEntry; last: MovedEntry }> {
    const [first, last, levels] = [this.#first!, this.#last!, this.#levels.toStored()];
    const raw = Buffer.concat(this.#encoded.splice(0));
    const body = await compress(raw, { params: { [constants.ZSTD_c_compressionLevel]: 6 } });
    const header = create(SegmentHeaderSchema, {
      format: FORMAT,
      backupId: this.#backupId,
      firstId: first.id,
      lastId: last.id,
      levels: levels.map(({ level, count }) => ({ level, count: BigInt(count) })),
      earliestSeconds: ascending(levels.map(level => BigInt(level.first))).at(0)! / 1_000_000_000n,
      latestSeconds: ascending(levels.map(level => BigInt(level.last))).at(-1)! / 1_000_000_000n,
      entriesBytes: BigInt(raw.length),
      entriesSha256: new Uint8Array(digest(body)),
    });
    return { object: Buffer.concat([sizeDelimitedEncode(SegmentHeaderSchema, header), body]), levels, first, last };
  }
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

/** Where each entry ends; they are delimited by their lengths. */
function endsOf(raw: Buffer, { firstId, lastId }: SegmentHeader): { starts: Uint32Array; ends: Uint32Array } {
  const count = Number(lastId - firstId) + 1;
  const [starts, ends] = [new Uint32Array(count), new Uint32Array(count)];
  let at = 0;
  for (let i = 0; i < count; i++) {
    // A varint, by hand: a segment of 14,000 entries is opened in 5.8 ms, and in 7.8 with `sizeDelimitedPeek`.
    let [size, shift, byte] = [0, 0, 128];
    for (; byte > 127; shift += 7) {
      byte = raw[at++] ?? 0;
      size |= (byte & 127) << shift;
    }
    starts[i] = at;
    at += size;
    ends[i] = at;
  }
  if (at !== raw.length) throw new Error('has other entries than it says');
  return { starts, ends };
}
