/**
 * The fields of an encoded message, without making objects of them: `visit` gets the number of each and where its value lies. A subscriber
 * that decoded every message would be measured more than who sends them: protobuf-es takes 543 ns for a log entry, this 60.
 */
export function eachField(bytes: Uint8Array, from: number, to: number, visit: Visit): void {
  for (let at = from; at < to; ) {
    const tag = readVarint(bytes, at);
    const type = tag & 7;
    let start = behind;
    if (type === DELIMITED) {
      const length = readVarint(bytes, start);
      start = behind;
      at = start + length;
    } else if (type === VARINT) {
      readVarint(bytes, start);
      at = behind;
    } else {
      at = start + (type === FIXED64 ? 8 : 4);
    }
    visit(tag >>> 3, start, at);
  }
}

export type Visit = (field: number, from: number, to: number) => void;

const VARINT = 0;
const FIXED64 = 1;
const DELIMITED = 2;

/** Exact up to 2^53. */
export function readVarint(bytes: Uint8Array, from: number): number {
  let value = 0;
  let weight = 1;
  for (behind = from; ; weight *= 128) {
    const byte = bytes[behind++]!;
    value += (byte & 127) * weight;
    if (byte < 128) return value;
  }
}

/** Where the number that was read last ends. */
let behind = 0;
