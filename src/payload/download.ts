import { createHash } from 'node:crypto';
import { notFound } from '../controller/change.ts';
import type { Sql } from '../db/sql.ts';
import { ErrorReason, retryAfter, StatusError } from '../errors.ts';
import { checksumMismatch, columnLength, fromColumn, PIECE_BYTES } from './column.ts';

export type Part =
  | { kind: 'start'; size: number }
  | { kind: 'chunk'; bytes: Uint8Array }
  | { kind: 'finish'; md5: string };

/**
 * The payload of a controller, from the chunks that were uploaded, or from the column when it was written otherwise. No transaction and no
 * connection is held while a reader takes its time: chunks never change, and when they are gone it is found out why.
 */
export async function* download(sql: Sql, backupId: string): AsyncGenerator<Part> {
  const uploaded = await look(sql, backupId);
  const column = uploaded ? undefined : await readColumn(sql, backupId);
  const hash = createHash('md5');
  yield { kind: 'start', size: uploaded?.size ?? column!.length };
  for await (const bytes of uploaded ? readPieces(sql, uploaded) : cut(column!)) {
    hash.update(bytes);
    yield { kind: 'chunk', bytes };
  }
  const md5 = hash.digest('hex');
  if (uploaded && md5 !== uploaded.md5) throw await damaged(sql, uploaded, md5);
  yield { kind: 'finish', md5 };
}

type Uploaded = { backupId: string; uploadId: string; size: number; md5: string };

/** The upload that is the payload; undefined when none is, or when another program has written something else over it. */
async function look(sql: Sql, backupId: string): Promise<Uploaded | undefined> {
  const [row] = await sql<{ length: number; uploadid: string | null; size: string; md5: string }>({
    text: `select octet_length(c.controller) as length, p.uploadid, p.size, p.md5
           from backup_controllers c left join backup_payloads p on p.backupid = c.backupid where c.backupid = $1`,
    values: [backupId],
  });
  if (!row) throw notFound(backupId);
  const size = Number(row.size);
  if (!row.uploadid || row.length !== columnLength(size)) return undefined;
  return { backupId, uploadId: row.uploadid, size, md5: row.md5 };
}

async function* readPieces(sql: Sql, { backupId, uploadId, size }: Uploaded): AsyncGenerator<Uint8Array> {
  const last = Math.ceil(size / PIECE_BYTES);
  const read = (from: number) => {
    const page = sql<{ data: string }>({
      text: `select data from backup_payload_chunks where backupid = $1 and uploadid = $2 and n between $3 and $4 order by n`,
      values: [backupId, uploadId, from, from + PAGE - 1],
    });
    page.catch(() => {}); // told by whoever waits for it
    return page;
  };
  let ahead = read(1);
  for (let n = 1; n <= last; n += PAGE) {
    const page = await ahead;
    // What is missing shows in the MD5 of the rest. To go on without it is no use.
    if (page.length < Math.min(PAGE, last - n + 1)) return;
    if (n + PAGE <= last) ahead = read(n + PAGE);
    for (const { data } of page) yield Buffer.from(data, 'base64');
  }
}

/** Pieces in a page: one is read while the one before is sent. */
const PAGE = 4;

async function damaged(sql: Sql, { backupId, uploadId, md5 }: Uploaded, found: string): Promise<StatusError> {
  const text = 'select from backup_payloads where backupid = $1 and uploadid = $2';
  const [still] = await sql({ text, values: [backupId, uploadId] });
  if (still) return checksumMismatch(md5, found);
  return new StatusError(ErrorReason.CONFLICT, 'the payload was replaced or emptied meanwhile', {
    details: [retryAfter(100)],
  });
}

async function readColumn(sql: Sql, backupId: string): Promise<Uint8Array> {
  const [row] = await sql<{ length: number; controller: string | null }>({
    text: `select octet_length(controller) as length, case when octet_length(controller) <= $2 then controller end as controller
           from backup_controllers where backupid = $1`,
    values: [backupId, LARGEST_COLUMN],
  });
  if (!row) throw notFound(backupId);
  if (row.controller !== null) return fromColumn(row.controller);
  throw new StatusError(
    ErrorReason.PAYLOAD_TOO_LARGE,
    `the payload was not uploaded and takes ${row.length} bytes, too many to read at once`,
  );
}

/** The most characters of a column that are read in one piece: they are in memory several times over. */
const LARGEST_COLUMN = 16 * 1024 * 1024;

async function* cut(bytes: Uint8Array): AsyncGenerator<Uint8Array> {
  for (let at = 0; at < bytes.length; at += PIECE_BYTES) yield bytes.subarray(at, at + PIECE_BYTES);
}
