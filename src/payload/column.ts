import { createHash } from 'node:crypto';
import { ErrorReason, invalidFields, StatusError } from '../errors.ts';

/** The checksum to store beside a payload: the one given, if it is right. */
export function checkedSum(payload: Uint8Array, checksum: string, field: string): string {
  if (payload.length === 0) return checksum;
  const sum = createHash('md5').update(payload).digest('hex');
  if (checksum && checksum !== sum) throw invalidFields({ field, description: `the payload's MD5 is ${sum}` });
  return sum;
}

/** What the column holds: base64, as Moodle stores it. */
export function toColumn(payload: Uint8Array): string {
  return Buffer.from(payload).toString('base64');
}

/** The most characters of the column that one message is made of: with more, it would pass the 4 MiB that clients accept by default. */
const LARGEST_COLUMN = 4 * 1024 * 1024 - 64 * 1024;

/** Refuses a column that is too long for one message, before it is read. */
export function refuseLarge(columnLength: number): void {
  if (columnLength <= LARGEST_COLUMN) return;
  throw new StatusError(
    ErrorReason.PAYLOAD_TOO_LARGE,
    `the payload takes ${columnLength} bytes, too many for one message`,
  );
}

/** The payload that a column holds. What other writers left there is taken for text when it is not base64. */
export function fromColumn(column: string): Uint8Array {
  const bytes = Buffer.from(column, 'base64');
  return bytes.toString('base64') === column ? bytes : Buffer.from(column);
}

/**
 * Bytes of a piece of an upload: a multiple of three, so that the pieces' base64 put together is the base64 of the whole. Uploads of older
 * versions have pieces of 196,608 bytes: whole rows that are longer than what comes from a socket at once are put together in new buffers, and
 * to read 512 MiB took 0.85 s of this process' time instead of 0.43.
 */
export const PIECE_BYTES = 24_576;

/** What a piece has in base64. */
export const PIECE_CHARACTERS = columnLength(PIECE_BYTES);

/** The length of the column that holds this many bytes. */
export function columnLength(bytes: number): number {
  return Math.ceil(bytes / 3) * 4;
}

/** These bytes do not have the MD5 that they should have. */
export function checksumMismatch(expected: string, found: string): StatusError {
  return new StatusError(ErrorReason.CHECKSUM_MISMATCH, `the MD5 is ${found}, not ${expected}`, {
    metadata: { expected, found },
  });
}
