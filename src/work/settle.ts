import { Outcome, Status } from '../controller/lifecycle.ts';
import { epochMicros, epochNow } from '../db/clock.ts';
import type { Sql } from '../db/sql.ts';
import type { NewEntry } from '../log/append.ts';

/** What becomes of a run that is held: it finishes, or it goes back to the queue. */
export type Settlement = {
  backupId: string;
  /** Of the lease that ends. */
  token: string;
  status: typeof Status.FINISHED_OK | typeof Status.FINISHED_ERR | typeof Status.AWAITING;
  /** FAILED becomes CANCELLED when the cancellation was asked for, and so does going back to the queue. */
  outcome: Outcome;
  /** The attempt counts as lost. */
  lost?: boolean;
  /** Not to be claimed before, in epoch seconds; undefined leaves it as it is. */
  executionTime?: bigint;
  /** The last entries of the attempt. */
  entries: NewEntry[];
};

/** What became of it: undefined when the lease is lost. */
export type Settled = { status: Status; outcome: Outcome; lastId: bigint } | undefined;

/**
 * Ends leases, each only if the token is the current one: status, outcome, progress, payload, log entries and the seal, all in one
 * statement. It locks the runs first, in the order of their ids, and against entries that are being appended under the same lease; then the
 * heads of their logs. A log is sealed when its run finishes, not when it goes back to the queue.
 */
export async function settle(sql: Sql, settlements: Settlement[]): Promise<Settled[]> {
  // A lease ends once: of two that say so at the same time the first one is right.
  const first = new Map(settlements.toReversed().map(one => [keyOf(one), one]));
  const unique = [...first.values()];
  const entries = unique.flatMap(({ entries }, i) => entries.map(entry => ({ ...entry, run: i + 1 })));
  const rows = await sql<{ n: string; status: Status; outcome: Outcome; lastid: string | null }>({
    name: 'settle',
    text: SETTLE,
    values: [
      unique.map(({ backupId }) => backupId),
      unique.map(({ token }) => token),
      unique.map(({ status }) => status),
      unique.map(({ outcome }) => outcome),
      unique.map(({ lost = false }) => lost),
      unique.map(({ executionTime }) => executionTime ?? null),
      entries.map(({ run }) => run),
      entries.map(({ level }) => level),
      entries.map(({ message }) => message),
      entries.map(({ at }) => at?.seconds ?? null),
      entries.map(({ at }) => at?.nanos ?? null),
    ],
  });
  const settled = new Map(
    rows.map(({ n, status, outcome, lastid }) => [
      unique[Number(n) - 1],
      { status, outcome, lastId: BigInt(lastid ?? 0) },
    ]),
  );
  return settlements.map(one => settled.get(one));
}

// With the token: whoever says it of a lease that is lost must not stand before the one who holds the run now.
function keyOf({ backupId, token }: Settlement): string {
  return `${backupId} ${token.toLowerCase()}`;
}

const { FINISHED_OK, FINISHED_ERR, AWAITING } = Status;

const SETTLE = `
  with run as materialized (
    select c.backupid, c.attempt, s.n, s.lost, s.executiontime,
           case when s.status = ${AWAITING} and c.cancelrequestedat > 0 then ${FINISHED_ERR} else s.status end as status,
           case when s.outcome in (0, ${Outcome.FAILED}) and c.cancelrequestedat > 0 then ${Outcome.CANCELLED} else s.outcome end as outcome
    from unnest($1::varchar[], $2::uuid[], $3::smallint[], $4::smallint[], $5::boolean[], $6::bigint[])
      with ordinality as s (backupid, token, status, outcome, lost, executiontime, n)
    join backup_controllers c on c.backupid = s.backupid and c.leasetoken = s.token
    order by c.backupid for update of c
  ), changed as (
    update backup_controllers c set
      status = run.status, outcome = run.outcome, leasetoken = null,
      progress = case when run.status = ${FINISHED_OK} then 1 else c.progress end,
      controller = case when run.status = ${FINISHED_OK} then '' else c.controller end,
      lostattempts = c.lostattempts + run.lost::int,
      executiontime = coalesce(run.executiontime, c.executiontime),
      endedat = case when run.status >= ${FINISHED_ERR} then ${epochNow} else 0 end,
      updated_at = greatest(c.updated_at, ${epochNow}), revision = c.revision + 1
    from run where c.backupid = run.backupid
  ), emptied as (
    delete from backup_payloads p using run where p.backupid = run.backupid and run.status = ${FINISHED_OK}
  ), entry as (
    select run.backupid, run.attempt, e.level, e.message, e.seconds, e.nanos,
           row_number() over (partition by e.run order by e.n) as place, count(*) over (partition by e.run) as total
    from unnest($7::int[], $8::smallint[], $9::text[], $10::bigint[], $11::int[])
      with ordinality as e (run, level, message, seconds, nanos, n)
    join run on run.n = e.run
  ), head as (
    insert into backup_log_heads as h (backupid, lastid, sealedid, lastmicros)
    select run.backupid, count(entry.place), case when run.status >= ${FINISHED_ERR} then count(entry.place) end, ${epochMicros}
    from run left join entry using (backupid)
    group by run.backupid, run.status
    having count(entry.place) > 0 or run.status >= ${FINISHED_ERR}
    order by run.backupid
    on conflict (backupid) do update set
      lastid = h.lastid + excluded.lastid,
      sealedid = case when excluded.sealedid is null then h.sealedid else h.lastid + excluded.lastid end,
      lastmicros = greatest(h.lastmicros, excluded.lastmicros)
    returning backupid, lastid, lastmicros
  ), logged as (
    insert into backup_logs (backupid, id, loglevel, message, created_at, created_nanos, attempt)
    select backupid, head.lastid - entry.total + entry.place, entry.level, entry.message,
           coalesce(entry.seconds, head.lastmicros / 1000000),
           coalesce(entry.nanos, head.lastmicros % 1000000 * 1000), entry.attempt
    from entry join head using (backupid)
  )
  select run.n, run.status, run.outcome, head.lastid from run left join head using (backupid)`;
