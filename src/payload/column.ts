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
