import { createHash } from 'node:crypto';
import type { Pool } from 'pg';

export type Entry = {
  id: bigint;
  level: number;
  message: string;
  seconds: bigint;
  nanos: number;
  /** The attempt of the run that wrote it; 0 when it was none. */
  attempt: number;
};

/** Of how many entries and of how many bytes a page is at most; a single entry may exceed the bytes. */
export type PageLimits = { entries: number; bytes: number };

/** A place in a log: the last entry that was looked at, and what it was. 0 is before the first one. */
export type Position = {
  id: bigint;
  /** Empty when the entry itself was not seen. */
  fingerprint: string;
};

/** All levels: none is more verbose. */
export const ALL_LEVELS = 32767;

/** An entry whose numbers may have stayed small: arithmetic on bigints is slow. */
export type Encodable = Omit<Entry, 'id' | 'seconds'> & Record<'id' | 'seconds', number | bigint>;

/** What comes behind a position, and where it leads. */
export type PageRead = { entries: Encodable[]; end: Position };

/** What is asked for: of committed entries only, so up to an id that is known to be there. */
export type PageWish = { upTo: bigint; maxLevel: number; limits: PageLimits };

/**
 * The entries after a position up to `upTo`, which must be committed, as far as the limits allow, and the position that they lead to.
 * `cut` when the log was deleted, or retention has removed what comes next; `diverged` when the entry at the position is not the one that
 * it was. Both are told from the snapshot that the entries are read from.
 */
export async function readAfter(
  pool: Pool,
  backupId: string,
  after: Position,
  wish: PageWish,
): Promise<PageRead | 'cut' | 'diverged'> {
  const to = least(wish.upTo, after.id + reach(wish.limits.entries, wish.maxLevel < ALL_LEVELS));
  const { firstId, read, full } =
    (await readShort(pool, backupId, after.id, to, wish)) ?? (await readWithin(pool, backupId, after.id, to, wish));
  if (firstId === undefined || firstId > after.id + 1n) return 'cut';
  const there = read[0] !== undefined && BigInt(read[0].id) === after.id ? read[0] : undefined;
  const provable = after.fingerprint && firstId <= after.id;
  if (provable && (!there || fingerprint(there) !== after.fingerprint)) return 'diverged';
  const last = read.at(-1);
  const ends = last && (full || BigInt(last.id) === to);
  return {
    entries: read.filter(entry => entry !== there && entry.level <= wish.maxLevel),
    end: ends ? { id: BigInt(last.id), fingerprint: fingerprint(last) } : { id: to, fingerprint: '' },
  };
}

/** The entry at the position, if it is there, and those behind it; `full` when the limits have left some out. */
type Read = { firstId: bigint | undefined; read: Encodable[]; full: boolean };

// What the filter leaves out is read at both ends nevertheless: the first row proves the position, the last one is the next position.
const IN_PAGE = `
  from backup_logs where backupid = $1 and id >= $2 and id <= $3 and (loglevel <= $4 or id = $2 or id = $3) order by id limit $5`;

/**
 * As nearly all logs can be read: messages come as long as they are short, and are counted here. Undefined when the first one is long. Arrays of
 * texts, and no sums: a page of 500 takes the service and PostgreSQL half the time that it takes `readWithin`.
 */
async function readShort(
  pool: Pool,
  backupId: string,
  after: bigint,
  to: bigint,
  { maxLevel, limits }: PageWish,
): Promise<Read | undefined> {
  const { rows } = await pool.query<(string | null)[]>({
    name: 'tail-page',
    text: `select page.*, h.firstid from backup_log_heads h left join lateral (
        select id, loglevel, case when id = $2 or octet_length(message) <= ${SHORT} then message end as message,
               created_at, created_nanos, attempt ${IN_PAGE}
      ) page on true where h.backupid = $1 order by page.id`,
    values: [backupId, after, to, maxLevel, limits.entries + 1],
    rowMode: 'array',
    types: AS_TEXT,
  });
  const firstId = rows[0] && BigInt(rows[0][6]!);
  const read: Encodable[] = [];
  let [bytes, behind] = [0, 0];
  for (const row of rows) {
    const [id, , message] = row;
    if (id === null) break; // there are none
    if (id !== String(after)) {
      if (message === null && behind === 0) return undefined;
      bytes += (message?.length ?? limits.bytes) + ENTRY_OVERHEAD;
      if (bytes > limits.bytes && behind > 0) return { firstId, read, full: true };
      behind++;
    }
    read.push(fromTexts(row as string[]));
  }
  return { firstId, read, full: read.length > limits.entries };
}

/** In bytes. As many of them as a page may have entries are no more than some pages may take. */
const SHORT = 2048;

/** The lengths are known without reading the texts themselves, so a page of long ones costs no more memory than it may. */
async function readWithin(
  pool: Pool,
  backupId: string,
  after: bigint,
  to: bigint,
  { maxLevel, limits }: PageWish,
): Promise<Read> {
  const { rows } = await pool.query({
    name: 'tail-page-long',
    text: `select h.firstid, page.* from backup_log_heads h left join lateral (${withinBytes(
      `select *, case when id > $2 then octet_length(message) + ${ENTRY_OVERHEAD} else 0 end as size ${IN_PAGE}`,
      'id',
      '$6',
    )}) page on true where h.backupid = $1 order by page.id`,
    values: [backupId, after, to, maxLevel, limits.entries + 1, limits.bytes],
  });
  const read = rows.flatMap(row => (row.id === null ? [] : [toEntry(row)]));
  const full = read.length < Number(rows[0]?.found ?? 0) || read.length > limits.entries;
  return { firstId: rows[0] && BigInt(rows[0].firstid), read, full };
}

/**
 * How many ids a page looks at. Ids have no gaps, so a bound on them bounds the work whatever plan the database makes: with a limit alone and
 * no statistics yet, it sorted the whole rest of the log for each page (35 ms instead of 4 for 1000 of 50,000 entries). A page of a filter
 * may come back with fewer entries than there are, or none; the next one goes on behind them.
 */
export function reach(entries: number, filtered: boolean): bigint {
  return BigInt(filtered ? Math.max(10 * entries, 10_000) : entries);
}

/** Proof of what an entry was: 64 bits of its SHA-256. */
export function fingerprint({ id, level, seconds, nanos, message }: Encodable): string {
  const hash = createHash('sha256').update(`${id} ${level} ${seconds} ${nanos} ${message}`);
  return hash.digest().subarray(0, 8).toString('base64url');
}

/** The most that an entry takes in a message besides its text. */
export const ENTRY_OVERHEAD = 80;

// The lengths are known without reading the texts themselves, so a page of long ones costs no more memory than it may.
export function withinBytes(rows: string, order: string, bytes: string): string {
  return `
    with page as (${rows}), measured as (
      select *, sum(size) over (order by ${order} rows unbounded preceding) as total, count(*) over () as found from page
    )
    select id, loglevel, message, created_at, created_nanos, attempt, found
    from measured where total <= ${bytes} or total = size order by ${order}`;
}

export const least = (a: bigint, b: bigint) => (a < b ? a : b);

/** Values as they come, without a look at their types. */
export const AS_TEXT = { getTypeParser: () => (text: string) => text };

/** An entry of the texts of its columns. */
export function fromTexts([id, level, message, seconds, nanos, attempt]: string[]): Encodable {
  return {
    id: toNumber(id!),
    level: Number(level),
    message: message!,
    seconds: toNumber(seconds!),
    nanos: Number(nanos),
    attempt: Number(attempt),
  };
}

/** Exact. */
function toNumber(text: string): number | bigint {
  return text.length < 16 ? Number(text) : BigInt(text);
}

type Row = {
  id: string;
  loglevel: number;
  message: string;
  created_at: string;
  created_nanos: number;
  attempt: number;
};

export function toEntry(row: Row): Entry {
  return {
    id: BigInt(row.id),
    level: row.loglevel,
    message: row.message,
    seconds: BigInt(row.created_at),
    nanos: row.created_nanos,
    attempt: row.attempt,
  };
}
