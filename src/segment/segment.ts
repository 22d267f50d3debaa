import type { Encodable } from '../log/entry.ts';

/** An entry of a segment. */
export type MovedEntry = Omit<Encodable, 'id'> & {
  id: bigint;
  /** When it was appended, in epoch microseconds, if its writer gave it another time. */
  appendedMicros: bigint | undefined;
};

/** The entries of an object, decompressed. Each is decoded when it is asked for: most readers want a few of them. */
export class Segment {
  readonly firstId: bigint;
  readonly lastId: bigint;
  readonly #raw: Buffer;
  readonly #places: { starts: Uint32Array; ends: Uint32Array };
  readonly #decode: (id: bigint, bytes: Buffer) => MovedEntry;

  constructor(
    firstId: bigint,
    lastId: bigint,
    raw: Buffer,
    places: { starts: Uint32Array; ends: Uint32Array },
    decode: (id: bigint, bytes: Buffer) => MovedEntry,
  ) {
    this.firstId = firstId;
    this.lastId = lastId;
    this.#raw = raw;
    this.#places = places;
    this.#decode = decode;
  }

  /** What it takes in memory, in bytes. */
  get weight(): number {
    return this.#raw.length + 8 * this.#places.ends.length;
  }

  /** One that it has. */
  entry(id: bigint): MovedEntry {
    const i = Number(id - this.firstId);
    return this.#decode(id, this.#raw.subarray(this.#places.starts[i], this.#places.ends[i]));
  }

  /** Those between two ids, both included, in either order. */
  *entries(from: bigint, to: bigint, newestFirst = false): Generator<MovedEntry> {
    if (newestFirst) for (let id = to; id >= from; id--) yield this.entry(id);
    else for (let id = from; id <= to; id++) yield this.entry(id);
  }
}

/** When an entry was appended, in epoch microseconds, as `readIdsAt` reckons it for those in the table. */
export function appendedAt({ appendedMicros, seconds, nanos }: Omit<MovedEntry, 'id'>): bigint {
  return appendedMicros ?? BigInt(seconds) * 1_000_000n + BigInt(Math.trunc(nanos / 1000));
}
