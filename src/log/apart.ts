import { setTimeout as delay } from 'node:timers/promises';
import type { Pool, QueryConfig } from 'pg';
import { epochMicros } from '../db/clock.ts';
import { toEntry } from './entry.ts';
import { type Head, logColumns, runColumns, toHead } from './head-row.ts';
import { ENTRY_OVERHEAD } from './limits.ts';
import type { Active, Known, News } from './look.ts';

// What reads logs together with their controllers, for Citus, where these are on the coordinator and those on other nodes. A transaction that
// finishes a run and seals its log becomes visible on one node before the other, so whoever finds one without the other looks again.

/** As `readHeads`. */
export function readHeadsApart(pool: Pool, backupIds: readonly string[]): Promise<Map<string, Head>> {
  return matched(pool, backupIds, async () => {
    const { rows } = await pool.query({
      name: 'heads-apart',
      text: `select h.backupid, ${logColumns} from backup_log_heads h where h.backupid = any ($1)`,
      values: [backupIds],
    });
    return new Map(rows.map(row => [row.backupid as string, row]));
  });
}

/** As `readNews`. The shard that has a log gives all of one snapshot. */
export async function readNewsApart(
  pool: Pool,
  logs: readonly Known[],
  most: number,
  bytes: number,
): Promise<Map<string, News>> {
  const found = new Map<string, Record<string, unknown>[]>();
  const ids = logs.map(({ backupId }) => backupId);
  const lastIds = logs.map(({ lastId }) => lastId ?? null);
  const [name, text, ...values] =
    logs.length === 1 ? ['log-news-apart', NEWS_OF_ONE, ids[0], lastIds[0]] : ['log-news-all', NEWS, ids, lastIds];
  const heads = await matched(pool, ids, async () => {
    found.clear();
    const { rows } = await pool.query({ name, text, values: [...values, most, bytes] } as QueryConfig);
    for (const row of rows) {
      if (!found.has(row.backupid)) found.set(row.backupid, []);
      found.get(row.backupid)!.push(row);
    }
    return new Map([...found].map(([backupId, [first]]) => [backupId, first!]));
  });
  return new Map(
    logs.map(({ backupId, lastId }) => {
      const head = heads.get(backupId)!;
      const rows = found.get(backupId) ?? [];
      const fingerprint = (rows[0]?.['proof'] as Buffer | null | undefined)?.toString('base64url') ?? '';
      const entries = rows.flatMap(row => (row['id'] === null ? [] : [toEntry(row as never)]));
      return [backupId, { head, proof: { id: lastId ?? head.lastId, fingerprint }, entries }];
    }),
  );
}

/** As `readActive`. */
export async function readActiveApart(pool: Pool, since: bigint | undefined, before: bigint): Promise<Active> {
  const clock = await pool.query({ name: 'log-clock', text: `select ${epochMicros} as now`, values: [] });
  const at = BigInt(clock.rows[0].now);
  const from = (since ?? at) - before;
  const begun = await pool.query({
    name: 'log-active-controllers',
    text: 'select backupid from backup_controllers where created_at >= $1::bigint / 1000000',
    values: [from],
  });
  const grown = await pool.query({
    name: 'log-active-heads',
    text: 'select backupid, lastid from backup_log_heads where activeminute >= $1::bigint / 60000000 or backupid = any ($2)',
    values: [from, begun.rows.map(({ backupid }) => backupid)],
  });
  const lastIds = new Map<string, bigint>(begun.rows.map(({ backupid }) => [backupid, 0n]));
  for (const { backupid, lastid } of grown.rows) lastIds.set(backupid, BigInt(lastid));
  return { at, lastIds };
}

async function matched(
  pool: Pool,
  backupIds: readonly string[],
  readLogs: () => Promise<Map<string, Record<string, unknown>>>,
): Promise<Map<string, Head>> {
  for (let attempt = 1; ; attempt++) {
    const { rows } = await pool.query({ name: 'runs-apart', text: RUNS, values: [backupIds] });
    const runs = new Map(rows.map(row => [row.backupid as string, row]));
    const logs = await readLogs();
    const heads = new Map(
      backupIds.map(id => [id, toHead({ ...NO_LOG, ...NO_RUN, ...logs.get(id), ...runs.get(id) })]),
    );
    if (attempt === ATTEMPTS || [...heads.values()].every(isWhole)) return heads;
    await delay(PAUSE_MS);
  }
}

/** Whether a log is sealed when its run is finished, and only then. */
function isWhole({ run, sealedId }: Head): boolean {
  return !run || run.status >= FINISHED === (sealedId !== undefined);
}

/** 900 and 1000: it has failed, it has succeeded. */
const FINISHED = 900;

/** Another program may finish runs and seal no log. */
const ATTEMPTS = 5;
const PAUSE_MS = 5;

const RUNS = `select c.backupid, ${runColumns} from backup_controllers c where c.backupid = any ($1)`;

const NO_LOG = { firstid: null, lastid: null, sealedid: null, movedid: null, lastmicros: null };
const NO_RUN = { status: null };

// Of one log by its shard, which Citus finds where the id itself stands everywhere; of several by all shards at once. Of a hundred logs that is one
// statement for each shard, where a statement for each log kept everybody else from the connections.
const news = (wanted: string, own: string, known: string) => `
  select h.backupid, ${logColumns}, proof.proof, page.*
  from backup_log_heads h
  left join lateral (
    select substr(sha256(convert_to(concat_ws(' ', id, loglevel, created_at, created_nanos, message), 'UTF8')), 1, 8) as proof
    from backup_logs where ${own} and id = coalesce(${known}, h.lastid) offset 0
  ) proof on true
  left join lateral (
    select id, loglevel, message, created_at, created_nanos, attempt from (
      select *, sum(octet_length(message) + ${ENTRY_OVERHEAD}) over (partition by backupid order by id rows unbounded preceding) as total
      from backup_logs where ${own} and id > ${known} and id <= least(h.lastid, ${known} + $3::bigint)
    ) measured where total <= $4::bigint
  ) page on true
  where ${wanted} order by h.backupid, page.id`;

const NEWS_OF_ONE = news('h.backupid = $1', 'backupid = $1', '$2::bigint');
const NEWS = news(
  'h.backupid = any ($1::varchar[])',
  'backupid = h.backupid',
  '($2::bigint[])[array_position($1::varchar[], h.backupid)]',
);
