import type { Pool } from 'pg';
import { copyRows } from '../db/copy.ts';
import type { Logs } from '../segment/archive.ts';
import { COPIED, firstOf, fromCopy, isHead, LastRow, movedOf } from './copied.ts';
import { Encoder } from './encode.ts';
import { fingerprint, type Position, toEntry } from './entry.ts';
import { ALL_LEVELS, ENTRY_OVERHEAD, least, type PageLimits, type PageRead, type PageWish, reach } from './limits.ts';
import { readMovedAfter } from './moved-page.ts';

export { ALL_LEVELS, ENTRY_OVERHEAD, least, type PageLimits, type PageRead, type PageWish, reach };

/**
 * The entries after a position up to `upTo`, which must be committed, as far as the limits allow, and the position that they lead to.
 * `cut` when the log was deleted, or retention has removed what comes next; `diverged` when the entry at the position is not the one that
 * it was. Both are told from the snapshot that the entries are read from.
 */
export async function readAfter(
  { pool, archive }: Logs,
  backupId: string,
  after: Position,
  wish: PageWish,
): Promise<PageRead | 'cut' | 'diverged'> {
  const to = least(wish.upTo, after.id + reach(wish.limits.entries, wish.maxLevel < ALL_LEVELS));
  const read =
    (await readShort(pool, backupId, after.id, to, wish)) ?? (await readWithin(pool, backupId, after.id, to, wish));
  const { firstId, movedId, proof, last, full, encoder } = read;
  const bytes = encoder.finish();
  if (firstId === undefined || firstId > after.id + 1n) return 'cut';
  const toProve = after.fingerprint !== '' && firstId <= after.id;
  if (movedId > after.id || (movedId === after.id && toProve)) {
    const moved = await readMovedAfter(archive, backupId, after, { ...wish, to, movedId, toProve });
    // What it leads to is in the table, and was read already.
    if (typeof moved === 'string' || movedId > after.id || to === after.id) return moved;
  } else if (toProve && proof !== after.fingerprint) return 'diverged';
  const end = last && (full || last.id === to) ? last : { id: to, fingerprint: '' };
  return { entries: encoder.count, bytes, end };
}

/** What was read: `full` when the limits have left something out. */
type Read = {
  /** First id that is kept; undefined when there is no log. */
  firstId: bigint | undefined;
  /** Entries up to this one were not in the table any more. */
  movedId: bigint;
  /** Fingerprint of the entry at the position. */
  proof: string | undefined;
  /** The last entry, also when the filter leaves it out. */
  last: Position | undefined;
  full: boolean;
  encoder: Encoder;
};

// What the filter leaves out is read at both ends nevertheless: the first row proves the position, the last one is the next position.
const inPage = (backupId: string, after: string, to: string, maxLevel: string, count: string) => `
  from backup_logs where backupid = ${backupId} and id >= ${after} and id <= ${to} and (loglevel <= ${maxLevel} or id = ${after} or id = ${to})
  order by id limit ${count}`;

/**
 * As nearly all logs can be read: messages come as long as they are short, and are counted here. Undefined when the first one is long. Entries go
 * to the wire as they come, with no text and no object between.
 */
async function readShort(
  pool: Pool,
  backupId: string,
  after: bigint,
  to: bigint,
  { maxLevel, limits, field }: PageWish,
): Promise<Read | undefined> {
  const rows = inPage(`'${backupId}'`, `${after}`, `${to}`, `${maxLevel}`, `${limits.entries + 1}`);
  const message = `case when id = ${after} or octet_length(message) <= ${SHORT} then message end as message`;
  const encoder = new Encoder(field);
  const latest = new LastRow();
  let [firstId, movedId, proof]: [bigint | undefined, bigint, string | undefined] = [undefined, 0n, undefined];
  let [bytes, behind, full, long] = [0, 0, false, false];
  let before: bigint | number = after - 1n;
  await copyRows(
    pool,
    `select firstid, null::smallint, null, movedid, null::int, null::int from backup_log_heads where backupid = '${backupId}'
     union all (select ${COPIED.replace('message', message)} ${rows})`,
    row => {
      if (isHead(row)) {
        firstId = BigInt(firstOf(row));
        movedId = BigInt(movedOf(row));
      }
      if (full || isHead(row)) return;
      // By the order of the subquery, which PostgreSQL keeps as long as it appends the one to the other.
      if (firstOf(row) <= before) throw new Error('entries came out of order');
      before = firstOf(row);
      const entry = fromCopy(row);
      if (!entry) {
        long = behind === 0;
        full = true;
      } else if (BigInt(entry.id) === after) {
        proof = fingerprint(entry);
        latest.keep(row);
      } else {
        bytes += entry.message.length + ENTRY_OVERHEAD;
        full = behind > 0 && bytes > limits.bytes;
        if (full) return;
        behind++;
        latest.keep(row);
        if (entry.level <= maxLevel) encoder.add(entry);
      }
    },
  );
  if (long) return undefined;
  full ||= behind + (proof ? 1 : 0) > limits.entries;
  return { firstId, movedId, proof, last: latest.position, full, encoder };
}

/** In bytes. As many of them as a page may have entries are no more than some pages may take. */
const SHORT = 2048;

/** The lengths are known without reading the texts themselves, so a page of long ones costs no more memory than it may. */
async function readWithin(
  pool: Pool,
  backupId: string,
  after: bigint,
  to: bigint,
  { maxLevel, limits, field }: PageWish,
): Promise<Read> {
  const { rows } = await pool.query({
    name: 'tail-page-long',
    text: `select h.firstid, h.movedid, page.* from backup_log_heads h left join lateral (${withinBytes(
      `select *, case when id > $2 then octet_length(message) + ${ENTRY_OVERHEAD} else 0 end as size
       ${inPage('$1', '$2', '$3', '$4', '$5')}`,
      'id',
      '$6',
    )}) page on true where h.backupid = $1 order by page.id`,
    values: [backupId, after, to, maxLevel, limits.entries + 1, limits.bytes],
  });
  const read = rows.flatMap(row => (row.id === null ? [] : [toEntry(row)]));
  const encoder = new Encoder(field);
  for (const entry of read) if (entry.id > after && entry.level <= maxLevel) encoder.add(entry);
  const last = read.at(-1);
  return {
    firstId: rows[0] && BigInt(rows[0].firstid),
    movedId: BigInt(rows[0]?.movedid ?? 0),
    proof: read[0]?.id === after ? fingerprint(read[0]) : undefined,
    last: last && { id: last.id, fingerprint: fingerprint(last) },
    full: read.length < Number(rows[0]?.found ?? 0) || read.length > limits.entries,
    encoder,
  };
}

// The lengths are known without reading the texts themselves, so a page of long ones costs no more memory than it may.
export function withinBytes(rows: string, order: string, bytes: string): string {
  return `
    with page as (${rows}), measured as (
      select *, sum(size) over (order by ${order} rows unbounded preceding) as total, count(*) over () as found from page
    )
    select id, loglevel, message, created_at, created_nanos, attempt, found
    from measured where total <= ${bytes} or total = size order by ${order}`;
}
