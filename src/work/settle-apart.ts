import { type Outcome, Status } from '../controller/lifecycle.ts';
import { smallintArray, textArray } from '../db/arrays.ts';
import { epochMicros } from '../db/clock.ts';
import { onAllNodes } from '../db/shard.ts';
import type { Sql } from '../db/sql.ts';
import type { NewEntry } from '../log/append.ts';

/** A run that was held, and the end of a log. */
export type Ended = { n: string | null; status: Status; outcome: Outcome };
export type LogEnd = { backupid: string; lastid: string };

/**
 * What `settle` does where controllers and logs are on different nodes (Citus): the runs in one statement, and then one for each log, in the
 * order of their ids. Part of a transaction.
 */
export async function settleApart(
  sql: Sql,
  runs: { text: string; values: unknown[] },
  entriesOf: (n: number) => NewEntry[],
): Promise<{ runs: Ended[]; heads: LogEnd[] }> {
  const ended = await sql<Ended & { backupid: string; attempt: number }>(runs);
  const heads: LogEnd[] = [];
  await onAllNodes(sql);
  for (const { n, status, backupid, attempt } of ended.toSorted((a, b) => (a.backupid < b.backupid ? -1 : 1))) {
    const entries = entriesOf(Number(n));
    const seals = status >= Status.FINISHED_ERR;
    if (entries.length === 0 && !seals) continue;
    const [head] = await sql<LogEnd>({
      name: 'settle-log',
      text: LOG,
      values: [
        backupid,
        entries.length,
        seals ? entries.length : null,
        attempt,
        smallintArray(entries.map(({ level }) => level)),
        textArray(entries.map(({ message }) => message)),
        entries.map(({ at }) => at?.seconds ?? null),
        entries.map(({ at }) => at?.nanos ?? null),
      ],
    });
    heads.push(head!);
  }
  return { runs: ended, heads };
}

// $1 backup id, $2 number of entries, $3 the same if the log is sealed, $4 the attempt, $5 to $8 columns of the entries.
const LOG = `
  with head as (
    insert into backup_log_heads as h (backupid, lastid, sealedid, lastmicros)
    select $1::varchar, $2::bigint, $3::bigint, ${epochMicros}
    on conflict (backupid) do update set
      lastid = h.lastid + excluded.lastid,
      sealedid = case when excluded.sealedid is null then h.sealedid else h.lastid + excluded.lastid end,
      lastmicros = greatest(h.lastmicros, excluded.lastmicros)
    returning backupid, lastid, lastmicros
  ), logged as (
    insert into backup_logs (backupid, id, loglevel, message, created_at, created_nanos, attempt, appended_micros)
    select $1::varchar, head.lastid - $2::bigint + e.n, e.level, e.message, coalesce(e.seconds, head.lastmicros / 1000000),
           coalesce(e.nanos, head.lastmicros % 1000000 * 1000), $4::int, case when e.seconds is not null then head.lastmicros end
    from head, unnest($5::smallint[], $6::text[], $7::bigint[], $8::int[]) with ordinality as e (level, message, seconds, nanos, n)
  )
  select backupid, lastid from head`;
