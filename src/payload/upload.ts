import { createHash, randomUUID } from 'node:crypto';
import type { Pool } from 'pg';
import { fromRow, type Shown, shownColumns } from '../controller/row.ts';
import { epochNow } from '../db/clock.ts';
import { type Row, type Sql, type Statement, sqlOn } from '../db/sql.ts';
import { ErrorReason, retryAfter, StatusError } from '../errors.ts';
import { columnLength, PIECE_BYTES, PIECE_CHARACTERS } from './column.ts';

/**
 * The bytes of an upload on their way into the table of chunks, where nobody sees them before they are kept. Whatever their number, it holds
 * one batch that is being filled and one that is being stored. Disposing of it deletes what was not kept.
 */
export class Upload implements AsyncDisposable {
  readonly #sql: Sql;
  readonly #backupId: string;
  readonly #uploadId = randomUUID();
  readonly #maxBytes: number;
  readonly #hash = createHash('md5');
  #size = 0;
  #pieces = 0;
  #filled = 0;
  // Both are used again for every batch: made anew, they would be garbage of five times the payload's size.
  #bytes: Buffer | undefined;
  #encoded: Buffer | undefined;
  #storing: Promise<unknown> = Promise.resolve();
  #kept = false;

  constructor(pool: Pool, backupId: string, maxBytes: number) {
    this.#sql = sqlOn(pool);
    this.#backupId = backupId;
    this.#maxBytes = maxBytes;
  }

  /** Takes the next bytes; waits for the database when it is slower than they come. */
  async take(chunk: Uint8Array): Promise<void> {
    this.#size += chunk.length;
    if (this.#size > this.#maxBytes) throw tooLarge(this.#maxBytes);
    this.#hash.update(chunk);
    this.#bytes ??= Buffer.allocUnsafeSlow(BATCH * PIECE_BYTES);
    for (let at = 0; at < chunk.length; ) {
      const fits = chunk.subarray(at, at + this.#bytes.length - this.#filled);
      this.#bytes.set(fits, this.#filled);
      this.#filled += fits.length;
      at += fits.length;
      if (this.#filled === this.#bytes.length) await this.#store();
    }
  }

  /** There are no more bytes. */
  async end(): Promise<{ size: bigint; md5: string }> {
    if (this.#filled > 0) await this.#store();
    await this.#storing;
    return { size: BigInt(this.#size), md5: this.#hash.digest('hex') };
  }

  /** Makes this the payload of the controller, whose row must be locked, with the MD5 that it has. */
  async keep(sql: Sql, md5: string): Promise<Shown> {
    await sql({ text: `set local statement_timeout = ${LONGEST_MS}`, values: [] });
    const [row] = await sql<Row>(this.#whole(md5));
    // An upload that slept for an hour is taken for one that was left behind.
    if (row!['length'] !== columnLength(this.#size)) throw cutShort();
    await sql({
      text: `insert into backup_payloads (backupid, uploadid, size, md5) values ($1, $2, $3, $4)
             on conflict (backupid) do update set uploadid = excluded.uploadid, size = excluded.size, md5 = excluded.md5`,
      values: [this.#backupId, this.#uploadId, this.#size, md5],
    });
    this.#kept = true; // unless the commit fails, and then nobody knows: whoever looks for stale uploads finds out
    return fromRow(row!);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#storing.catch(() => {});
    if (this.#kept || this.#pieces === 0) return;
    const text = 'delete from backup_payload_chunks where backupid = $1 and uploadid = $2';
    await this.#sql({ text, values: [this.#backupId, this.#uploadId] }).catch(() => []);
  }

  /** Takes the database four times the column's length of memory: 2.9 GB for 512 MiB of payload. A subquery in `from` takes no less. */
  #whole(md5: string): Statement & { query_timeout: number } {
    return {
      text: `update backup_controllers c set
               controller = coalesce((select string_agg(data, '' order by n) from backup_payload_chunks
                                      where backupid = $1 and uploadid = $2), ''),
               checksum = $3, updated_at = greatest(c.updated_at, ${epochNow}), revision = c.revision + 1
             where c.backupid = $1
             returning octet_length(c.controller) as length, ${shownColumns}`,
      values: [this.#backupId, this.#uploadId, md5],
      query_timeout: LONGEST_MS,
    };
  }

  async #store(): Promise<void> {
    await this.#storing;
    this.#encoded ??= Buffer.allocUnsafeSlow(BATCH * PIECE_CHARACTERS);
    let length = 0;
    // Piece by piece: a longer string would live outside of V8's heap, which only a whole collection frees.
    for (let at = 0; at < this.#filled; at += PIECE_BYTES) {
      const piece = this.#bytes!.toString('base64', at, Math.min(at + PIECE_BYTES, this.#filled));
      length += this.#encoded.write(piece, length, 'latin1');
    }
    const values = [this.#backupId, this.#uploadId, this.#pieces + 1, this.#encoded.subarray(0, length)];
    this.#pieces += Math.ceil(this.#filled / PIECE_BYTES);
    this.#filled = 0;
    this.#storing = this.#sql({ text: STORE, values });
    this.#storing.catch(() => {}); // told by whoever waits for it next
  }
}

/** No upload is the payload of these controllers any more: something else is in the column, or nothing. Its chunks go later. */
export async function forgetUpload(sql: Sql, backupIds: string[]): Promise<void> {
  await sql({ text: 'delete from backup_payloads where backupid = any($1)', values: [backupIds] });
}

/** Milliseconds, for the one statement that writes everything once more: the limit of other statements is too short for it on a slow disk. */
const LONGEST_MS = 600_000;

/** Pieces in a statement. */
const BATCH = 32;

// One parameter and not one for each piece: pg copies what it has collected when another one does not fit in any more.
const STORE = `insert into backup_payload_chunks (backupid, uploadid, n, data)
  select $1, $2, $3 + i, convert_from(substring($4::bytea from i * ${PIECE_CHARACTERS} + 1 for ${PIECE_CHARACTERS}), 'UTF8')
  from generate_series(0, (octet_length($4::bytea) - 1) / ${PIECE_CHARACTERS}) i`;

function tooLarge(maxBytes: number): StatusError {
  return new StatusError(ErrorReason.PAYLOAD_TOO_LARGE, `a payload may have ${maxBytes} bytes, this one has more`);
}

function cutShort(): StatusError {
  return new StatusError(
    ErrorReason.CONFLICT,
    'the upload took so long that its beginning was deleted; send it again',
    {
      details: [retryAfter(100)],
    },
  );
}
