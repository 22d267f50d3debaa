import { integerArray } from '../db/arrays.ts';
import { epochMicros } from '../db/clock.ts';
import type { Sql } from '../db/sql.ts';
import { type Append, type AppendRow, appended, entryColumns, type Kept, kept } from './append.ts';

/** Whether an append asks for nothing but to be kept: under no lease, and not to be remembered by a request id. */
export function isFree({ leaseToken, request }: Append): boolean {
  return !leaseToken && !request;
}

/**
 * Appends to the logs of many backups in one statement, none of them under a lease or with a request id: each all or none, durable when this
 * resolves, and in its order among those to the same backup. As nearly all are like that, and nothing has to be looked up for them, what comes
 * where is reckoned here: of a batch of 32 PostgreSQL has 0.6 ms of work, and 0.88 by the statement for all kinds (`together.ts`).
 *
 * Heads are locked in the order of their backup ids.
 */
export async function appendFree(sql: Sql, appends: Append[]): Promise<Kept[]> {
  const logs = new Map<string, number>();
  // What the log had got from this batch when an append was through.
  const upto = appends.map(({ backupId, entries }) => {
    const count = (logs.get(backupId) ?? 0) + entries.length;
    logs.set(backupId, count);
    return count;
  });
  const backupIds = [...logs.keys()].sort();
  const places = new Map(backupIds.map((backupId, i) => [backupId, i + 1]));
  const entries = appends.flatMap(({ entries }) => entries);
  const rows = await sql<AppendRow & { backupid: string }>({
    name: 'append-free',
    text: APPEND,
    values: [
      backupIds,
      backupIds.map(backupId => logs.get(backupId)),
      integerArray(appends.flatMap(({ backupId, entries }) => entries.map(() => places.get(backupId)!))),
      integerArray(
        appends.flatMap(({ backupId, entries }, i) => {
          const behind = logs.get(backupId)! - upto[i]! + entries.length - 1;
          return entries.map((_, k) => behind - k);
        }),
      ),
      ...entryColumns(entries),
    ],
  });
  const heads = new Map(rows.map(row => [row.backupid, row]));
  return appends.map(({ backupId, entries }, i) => {
    const head = heads.get(backupId)!;
    const lastid = String(BigInt(head.lastid) - BigInt(logs.get(backupId)! - upto[i]!));
    return kept(appended({ ...head, lastid, attempt: 0 }, entries.length), 0);
  });
}

// `one` is the place of an entry's log among $1, `behind` how many entries of the batch come after it in that log. Heads go into arrays in the
// order of $1, because PostgreSQL takes each part of a statement for one row and would compare all entries with all heads.
const APPEND = `
  with head as materialized (
    insert into backup_log_heads as h (backupid, lastid, lastmicros)
    select backupid, count, ${epochMicros} from unnest($1::varchar[], $2::bigint[]) as asked (backupid, count)
    on conflict (backupid) do update
      set lastid = h.lastid + excluded.lastid, lastmicros = greatest(h.lastmicros, excluded.lastmicros)
    returning backupid, lastid, lastmicros, sealedid
  ), heads as (
    select array_agg(backupid order by backupid collate "C") as backupid, array_agg(lastid order by backupid collate "C") as lastid,
           array_agg(lastmicros order by backupid collate "C") as micros
    from head
  ), logged as (
    insert into backup_logs (backupid, id, loglevel, message, created_at, created_nanos, attempt, appended_micros)
    select heads.backupid[e.one], heads.lastid[e.one] - e.behind, e.level, e.message,
           coalesce(e.seconds, heads.micros[e.one] / 1000000), coalesce(e.nanos, heads.micros[e.one] % 1000000 * 1000), 0,
           case when e.seconds is not null then heads.micros[e.one] end
    from heads, unnest($3::int[], $4::int[], $5::smallint[], $6::text[], $7::bigint[], $8::int[])
      as e (one, behind, level, message, seconds, nanos)
  )
  select backupid, lastid, lastmicros, sealedid from head`;
