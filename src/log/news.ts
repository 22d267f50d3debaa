import type { Pool } from 'pg';
import { type Entry, type Position, toEntry } from './entry.ts';
import { type Head, headColumns, toHead } from './head.ts';
import { ENTRY_OVERHEAD } from './page.ts';

/** A log, and the last of its entries that is known; undefined when none is, and nothing but where it stands is wanted. */
export type Known = { backupId: string; lastId: bigint | undefined };

/** Where a log stands, and what has come. */
export type News = {
  head: Head;
  /** What the last known entry, or the last one of all, is by what is there now; without fingerprint when it is not there. */
  proof: Position;
  /** The entries behind it, without a gap; not all of them when they are many or long. */
  entries: Entry[];
};

/** At most so many bytes of entries, of all logs together. */
const BYTES = 4 * 1024 * 1024;

/**
 * What has come in these logs, by backup id: heads, proofs and entries from one snapshot and by one statement, so that what is appended
 * elsewhere takes one round trip to be here. Of each log up to `most` entries.
 */
export async function readNews(pool: Pool, logs: readonly Known[], most: number): Promise<Map<string, News>> {
  const { rows } = await pool.query({
    name: 'log-news',
    text: NEWS,
    values: [
      logs.map(({ backupId }) => backupId),
      logs.map(({ lastId }) => lastId ?? null),
      most,
      Math.floor(BYTES / logs.length),
    ],
  });
  const news = new Map<string, News>();
  for (const row of rows) {
    let found = news.get(row.backupid);
    if (!found) {
      const head = toHead(row);
      found = { head, proof: { id: BigInt(row.known ?? head.lastId), fingerprint: toText(row.proof) }, entries: [] };
      news.set(row.backupid, found);
    }
    if (row.id !== null) found.entries.push(toEntry(row));
  }
  return news;
}

// The proof is `fingerprint` in SQL: an entry may be long, and most looks find nothing but the one that is known. `offset 0` keeps it a look into
// each log: PostgreSQL would join it, and read whole tables (or all partitions) where it takes them for small.
const NEWS = `
  select wanted.backupid, wanted.known, ${headColumns}, proof.proof, page.*
  from unnest($1::varchar[], $2::bigint[]) as wanted (backupid, known)
  left join backup_log_heads h on h.backupid = wanted.backupid
  left join backup_controllers c on c.backupid = wanted.backupid
  left join lateral (
    select substr(sha256(convert_to(concat_ws(' ', id, loglevel, created_at, created_nanos, message), 'UTF8')), 1, 8) as proof
    from backup_logs where backupid = wanted.backupid and id = coalesce(wanted.known, h.lastid) offset 0
  ) proof on true
  left join lateral (
    select id, loglevel, message, created_at, created_nanos, attempt from (
      select *, sum(octet_length(message) + ${ENTRY_OVERHEAD}) over (order by id rows unbounded preceding) as total from backup_logs
      where backupid = wanted.backupid and id > wanted.known and id <= least(h.lastid, wanted.known + $3::bigint)
    ) measured where total <= $4::bigint
  ) page on true
  order by wanted.backupid, page.id`;

function toText(proof: Buffer | null): string {
  return proof?.toString('base64url') ?? '';
}
