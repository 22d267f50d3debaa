import type { Encodable } from './entry.ts';

/**
 * Puts entries on the wire, one behind the other: `backup.v1.LogEntry` as elements of the repeated field `field` of the message around them. By
 * hand, because every entry that is tailed or listed comes through here: 340 ns for each of a hundred lines of 150 characters, where
 * protobuf-es needs 820 to make their messages and encode them.
 */
export class Encoder {
  /** How many there are. */
  count = 0;
  /** How many bytes they take. */
  length = 0;
  readonly #field: number;
  readonly #backupId: string;
  // What is written first, because nobody knows how long it will be: room for all that it could be was three times as much for each page of a
  // list, and the garbage collector comes by the bytes that are outside of its heap.
  #to = spare.pop() ?? Buffer.allocUnsafeSlow(SPARE_BYTES);

  constructor(field: number, backupId = '') {
    this.#field = field;
    this.#backupId = backupId;
  }

  add(entry: Encodable): void {
    const most = 3 * entry.message.length + this.#backupId.length + OVERHEAD;
    if (this.length + most > this.#to.length) this.#grow(this.length + most);
    this.length = writeEntry(this.#to, this.length, entry, this.#field, this.#backupId);
    this.count++;
  }

  /** What it has become. Nothing may be added any more. */
  finish(): Buffer {
    // Of its own, not of the pool: some are kept, and one of 200 bytes would keep a slab of the pool with it, 8 KiB or more.
    const bytes = Buffer.allocUnsafeSlow(this.length);
    this.#to.copy(bytes, 0, 0, this.length);
    if (this.#to.length === SPARE_BYTES && spare.length < SPARES) spare.push(this.#to);
    return bytes;
  }

  #grow(least: number): void {
    const larger = Buffer.allocUnsafeSlow(Math.max(2 * this.#to.length, least));
    this.#to.copy(larger, 0, 0, this.length);
    this.#to = larger;
  }
}

const spare: Buffer[] = [];
const SPARE_BYTES = 512 * 1024;
const SPARES = 4;

/** Messages of entries one behind the other, and where each of them ends. */
export type Encoded = { bytes: Buffer; ends: number[] };

export function encodeEntries(entries: readonly Encodable[], field: number, backupId = ''): Encoded {
  const encoder = new Encoder(field, backupId);
  const ends = entries.map(entry => {
    encoder.add(entry);
    return encoder.length;
  });
  return { bytes: encoder.finish(), ends };
}

/** A field that holds bytes, a text or a message, in pieces: the pieces are copied once. */
export function lengthDelimited(field: number, ...pieces: Uint8Array[]): Buffer {
  return Buffer.concat(delimited(field, ...pieces));
}

/** The same with nothing copied: what comes before the pieces, and they. */
export function delimited(field: number, ...pieces: Uint8Array[]): Uint8Array[] {
  const length = pieces.reduce((sum, piece) => sum + piece.length, 0);
  const head = Buffer.allocUnsafe(2 * VARINT);
  const end = writeVarint(head, writeVarint(head, 0, (field << 3) | LENGTH_DELIMITED), length);
  return [head.subarray(0, end), ...pieces];
}

function writeEntry(to: Buffer, start: number, entry: Encodable, field: number, backupId: string): number {
  const { id, level, message, seconds, nanos, attempt } = entry;
  const room = typeof message === 'string' ? Buffer.byteLength(message) : message.length;
  const time = (seconds ? 1 + sizeOf(seconds) : 0) + (nanos === 0 ? 0 : 1 + sizeOf(nanos));
  const size =
    (backupId ? 1 + sizeOf(backupId.length) + backupId.length : 0) +
    (1 + sizeOf(id)) +
    (1 + sizeOf(level)) +
    (room ? 1 + sizeOf(room) + room : 0) +
    (2 + time) +
    (attempt ? 1 + sizeOf(attempt) : 0);
  let at = writeVarint(to, start, (field << 3) | LENGTH_DELIMITED);
  at = writeVarint(to, at, size);
  if (backupId) at = writeText(to, at, BACKUP_ID, backupId, backupId.length);
  at = writeVarint(to, writeTag(to, at, ID), id);
  at = writeVarint(to, writeTag(to, at, LEVEL), level);
  if (room) at = writeText(to, at, MESSAGE, message, room);
  to[at++] = CREATE_TIME;
  to[at++] = time;
  if (seconds) at = writeVarint(to, writeTag(to, at, SECONDS), seconds);
  if (nanos) at = writeVarint(to, writeTag(to, at, NANOS), nanos);
  if (attempt) at = writeVarint(to, writeTag(to, at, ATTEMPT), attempt);
  return at;
}

// Numbers of the fields in `log.proto` and `timestamp.proto`, shifted, with what is behind them; all are below 16, so a tag is one byte.
const LENGTH_DELIMITED = 2;
const BACKUP_ID = (1 << 3) | LENGTH_DELIMITED;
const ID = 2 << 3;
const LEVEL = 3 << 3;
const MESSAGE = (4 << 3) | LENGTH_DELIMITED;
const CREATE_TIME = (5 << 3) | LENGTH_DELIMITED;
const ATTEMPT = 6 << 3;
const SECONDS = 1 << 3;
const NANOS = 2 << 3;

/** The most bytes of a varint. */
const VARINT = 10;

/** The most that an entry takes besides its texts. */
const OVERHEAD = 9 * VARINT;

function writeTag(to: Buffer, at: number, tag: number): number {
  to[at] = tag;
  return at + 1;
}

function writeText(to: Buffer, start: number, tag: number, text: string | Buffer, bytes: number): number {
  const at = writeVarint(to, writeTag(to, start, tag), bytes);
  return at + (typeof text === 'string' ? to.write(text, at) : text.copy(to, at));
}

function writeVarint(to: Buffer, start: number, value: number | bigint): number {
  let at = start;
  if (isSmall(value)) {
    let rest = Number(value);
    for (; rest > 127; rest >>>= 7) to[at++] = (rest & 127) | 128;
    to[at++] = rest;
    return at;
  }
  let rest = BigInt.asUintN(64, BigInt(value));
  for (; rest > 127n; rest >>= 7n) to[at++] = Number(rest & 127n) | 128;
  to[at++] = Number(rest);
  return at;
}

function sizeOf(value: number | bigint): number {
  if (isSmall(value)) {
    const small = Number(value);
    return small < 1 << 7 ? 1 : small < 1 << 14 ? 2 : small < 1 << 21 ? 3 : small < 1 << 28 ? 4 : 5;
  }
  let size = 1;
  for (let rest = BigInt.asUintN(64, BigInt(value)) >> 7n; rest > 0n; rest >>= 7n) size++;
  return size;
}

/** Whether it fits into 32 bits: nearly all do, and arithmetic on bigints is slow. */
function isSmall(value: number | bigint): boolean {
  return value >= 0 && value <= 0x7fffffff;
}
