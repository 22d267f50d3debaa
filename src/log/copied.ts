import { type Encodable, fingerprint, type Position } from './entry.ts';

/**
 * Rows as COPY writes them, of the columns id, loglevel, message, created_at, created_nanos, attempt: a count (2 bytes), and before each column
 * its length (4 bytes). A row without a level is none of an entry, but says something of its log.
 */
export const COPIED = 'id, loglevel, message, created_at, created_nanos, attempt';

const ID = 2 + 4;
const LEVEL = ID + 8 + 4;
/** Of a row that has a level. */
const MESSAGE = LEVEL + 2 + 4;

export function isHead(row: Buffer): boolean {
  return row.readInt32BE(LEVEL - 4) < 0;
}

/** The number in the first column. */
export function firstOf(row: Buffer): number | bigint {
  return readInteger(row, ID);
}

/** In a row that says something of its log: up to which id its entries are not in the table. It is where the time would be. */
export function movedOf(row: Buffer): number | bigint {
  return readInteger(row, LEVEL + 4 + 4);
}

/** The entry of a row, there as long as the row is; undefined when its message was left out. */
export function fromCopy(row: Buffer): Encodable | undefined {
  const length = row.readInt32BE(MESSAGE - 4);
  if (length < 0) return undefined;
  const behind = MESSAGE + length;
  return {
    id: readInteger(row, ID),
    level: row.readInt16BE(LEVEL),
    message: row.subarray(MESSAGE, behind),
    seconds: readInteger(row, behind + 4),
    nanos: row.readInt32BE(behind + 4 + 8 + 4),
    attempt: row.readInt32BE(behind + 4 + 8 + 4 + 4 + 4),
  };
}

/** The row that came last, which is overwritten where it is. */
export class LastRow {
  #bytes = Buffer.alloc(0);
  #length = 0;

  keep(row: Buffer): void {
    if (row.length > this.#bytes.length) this.#bytes = Buffer.allocUnsafe(2 * row.length);
    this.#length = row.copy(this.#bytes);
  }

  get position(): Position | undefined {
    if (this.#length === 0) return undefined;
    const entry = fromCopy(this.#bytes.subarray(0, this.#length))!;
    return { id: BigInt(entry.id), fingerprint: fingerprint(entry) };
  }
}

/** Exact: a bigint only where it has to be one. */
function readInteger(row: Buffer, at: number): number | bigint {
  const high = row.readInt32BE(at);
  if (high < 0 || high >= 2 ** 21) return row.readBigInt64BE(at);
  return high * 2 ** 32 + row.readUInt32BE(at + 4);
}
