import { createHash } from 'node:crypto';
import type { Pool } from 'pg';
import { notFound } from '../controller/change.ts';
import { copyRows } from '../db/copy.ts';
import { type Sql, sqlOn } from '../db/sql.ts';
import { ErrorReason, retryAfter, StatusError } from '../errors.ts';
import { CHUNK_BYTES, Chunk } from './chunk.ts';
import { checksumMismatch, columnLength, fromColumn, PIECE_BYTES } from './column.ts';

export type Part = { kind: 'start'; size: number } | { kind: 'chunk'; chunk: Chunk } | { kind: 'finish'; md5: string };

/**
 * The payload of a controller, from the chunks that were uploaded, or from the column when it was written otherwise. No transaction and no
 * connection is held while a reader takes its time: chunks never change, and when they are gone it is found out why. A chunk is there until the
 * next part is asked for.
 */
export async function* download(pool: Pool, backupId: string): AsyncGenerator<Part> {
  const sql = sqlOn(pool);
  const uploaded = await look(sql, backupId);
  const column = uploaded ? undefined : await readColumn(sql, backupId);
  const hash = createHash('md5');
  yield { kind: 'start', size: uploaded?.size ?? column!.length };
  for await (const chunk of uploaded ? readChunks(pool, uploaded) : cut(column!)) {
    hash.update(chunk.bytes);
    yield { kind: 'chunk', chunk };
  }
  const md5 = hash.digest('hex');
  if (uploaded && md5 !== uploaded.md5) throw await damaged(sql, uploaded, md5);
  yield { kind: 'finish', md5 };
}

/** `piece` is how many bytes each of its rows stands for, the last one excepted. */
type Uploaded = { backupId: string; uploadId: string; size: number; md5: string; piece: number };

/** The upload that is the payload; undefined when none is, or when another program has written something else over it. */
async function look(sql: Sql, backupId: string): Promise<Uploaded | undefined> {
  const [row] = await sql<{ length: number; uploadid: string | null; size: string; md5: string; piece: number | null }>(
    {
      text: `select octet_length(c.controller) as length, p.uploadid, p.size, p.md5, octet_length(first.data) / 4 * 3 as piece
           from backup_controllers c left join backup_payloads p on p.backupid = c.backupid
             left join backup_payload_chunks first on first.backupid = p.backupid and first.uploadid = p.uploadid and first.n = 1
           where c.backupid = $1`,
      values: [backupId],
    },
  );
  if (!row) throw notFound(backupId);
  const size = Number(row.size);
  if (!row.uploadid || row.length !== columnLength(size)) return undefined;
  // Of one whose first row is gone nothing will be found.
  return { backupId, uploadId: row.uploadid, size, md5: row.md5, piece: row.piece || PIECE_BYTES };
}

/** Chunks that are sent while the next ones are read. */
async function* readChunks(pool: Pool, upload: Uploaded): AsyncGenerator<Chunk> {
  const perChunk = Math.max(1, Math.floor(CHUNK_BYTES / upload.piece));
  const [perPage, last] = [PAGE * perChunk, Math.ceil(upload.size / upload.piece)];
  const read = (from: number, into: Chunk[]) => {
    const page = readPieces(pool, upload, { from, to: from + perPage - 1 }, (n, base64) =>
      into[Math.floor((n - from) / perChunk)]!.addBase64(base64),
    );
    page.catch(() => {}); // told by whoever waits for it
    return page;
  };
  let [sending, reading] = [newPage(), newPage()];
  let ahead = read(1, reading);
  for (let from = 1; from <= last; from += perPage) {
    const count = await ahead;
    // What is missing shows in the MD5 of the rest. To go on without it is no use.
    if (count < Math.min(perPage, last - from + 1)) return;
    [sending, reading] = [reading, sending];
    for (const chunk of reading) chunk.clear();
    if (from + perPage <= last) ahead = read(from + perPage, reading);
    for (const chunk of sending) if (chunk.bytes.length > 0) yield chunk;
  }
}

/** Chunks in a page: one is read while the one before is sent. */
const PAGE = 4;

function newPage(): Chunk[] {
  return Array.from({ length: PAGE }, () => new Chunk());
}

/** How many there were. They come as bytes, by COPY: as rows of texts each would be a string of its own. */
async function readPieces(
  pool: Pool,
  { backupId, uploadId }: Uploaded,
  { from, to }: { from: number; to: number },
  take: (n: number, base64: Buffer) => void,
): Promise<number> {
  let count = 0;
  await copyRows(
    pool,
    `select n, data from backup_payload_chunks
     where backupid = '${backupId}' and uploadid = '${uploadId}' and n between ${from} and ${to} order by n`,
    row => {
      count++;
      take(row.readInt32BE(N), row.subarray(DATA));
    },
  );
  return count;
}

// Where the columns of a copied row begin: behind the count of columns each has its length before it.
const N = 2 + 4;
const DATA = N + 4 + 4;

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

function* cut(bytes: Uint8Array): Generator<Chunk> {
  const chunk = new Chunk();
  for (let at = 0; at < bytes.length; at += CHUNK_BYTES) {
    chunk.clear();
    chunk.add(bytes.subarray(at, at + CHUNK_BYTES));
    yield chunk;
  }
}
