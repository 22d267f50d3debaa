import { follow } from '../automation/follow.ts';
import { Outcome, Status } from '../controller/lifecycle.ts';
import type { Shown } from '../controller/row.ts';
import type { Given } from '../course/lifecycle.ts';
import type { Schedule } from '../course/schedule.ts';
import { epochMicros, epochNow } from '../db/clock.ts';
import { onCitus } from '../db/engine.ts';
import type { Sql } from '../db/sql.ts';
import type { NewEntry } from '../log/append.ts';
import { type Ended, type LogEnd, settleApart } from './settle-apart.ts';

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
  /** Of a course run: the next start that the worker gave. */
  given?: Given;
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
  const entries = unique.flatMap(({ entries }, i) =>
    entries.map((entry, k) => ({ ...entry, run: i + 1, place: k + 1 })),
  );
  const asked = [
    unique.map(({ backupId }) => backupId),
    unique.map(({ token }) => token),
    unique.map(({ status }) => status),
    unique.map(({ outcome }) => outcome),
    unique.map(({ lost = false }) => lost),
    unique.map(({ executionTime }) => executionTime ?? null),
    unique.map(({ entries }) => entries.length),
  ];
  if (onCitus()) {
    const apart = await settleApart(sql, { text: RUNS, values: asked }, n => unique[n - 1]!.entries);
    return answers(settlements, unique, apart);
  }
  const rows = await sql<Ended & LogEnd>({
    name: 'settle',
    text: SETTLE,
    values: [
      ...asked,
      entries.map(({ run }) => run),
      entries.map(({ place }) => place),
      entries.map(({ level }) => level),
      entries.map(({ message }) => message),
      entries.map(({ at }) => at?.seconds ?? null),
      entries.map(({ at }) => at?.nanos ?? null),
    ],
  });
  const [runs, heads] = [rows.filter(({ n }) => n !== null), rows.filter(({ n }) => n === null)];
  return answers(settlements, unique, { runs, heads });
}

function answers(
  settlements: Settlement[],
  unique: Settlement[],
  { runs, heads }: { runs: Ended[]; heads: LogEnd[] },
): Settled[] {
  const lastIds = new Map(heads.map(({ backupid, lastid }) => [backupid, BigInt(lastid)]));
  const settled = new Map(
    runs.map(({ n, status, outcome }) => {
      const one = unique[Number(n) - 1]!;
      return [one, { status, outcome, lastId: lastIds.get(one.backupId) ?? 0n }];
    }),
  );
  return settlements.map(one => settled.get(one));
}

/** The same in a transaction of the caller's, for runs that may be those of courses: they move with them. */
export async function settleWithCourses(
  sql: Sql,
  settlements: Settlement[],
  fallback: Schedule | undefined,
): Promise<Settled[]> {
  const settled = await settle(sql, settlements);
  await follow(
    sql,
    settlements.flatMap(({ backupId, executionTime, given }, i) => {
      const { status, outcome } = settled[i] ?? {};
      return status === undefined ? [] : [{ backupId, status, outcome: outcome!, executionTime, given }];
    }),
    fallback,
  );
  return settled;
}

/** A lease that is given back at once, none of its attempts used up. */
export function givenBack({ backupId, leaseToken }: Shown): Settlement {
  return { backupId, token: leaseToken!, status: AWAITING, outcome: 0, entries: [] };
}

// With the token: whoever says it of a lease that is lost must not stand before the one who holds the run now.
function keyOf({ backupId, token }: Settlement): string {
  return `${backupId} ${token.toLowerCase()}`;
}

const { FINISHED_OK, FINISHED_ERR, AWAITING } = Status;

// No join among the parts: PostgreSQL takes each for one row and compares all with all, 1.3 ms more for 100 runs and 130 for 1000. So entries
// come counted and numbered, they find their log's head in one object, and the two kinds of rows that it answers are put together above.
const CHANGE = `
  with run as materialized (
    select c.backupid, c.attempt, s.n, s.lost, s.executiontime, s.entries,
           case when s.status = ${AWAITING} and c.cancelrequestedat > 0 then ${FINISHED_ERR} else s.status end as status,
           case when s.outcome in (0, ${Outcome.FAILED}) and c.cancelrequestedat > 0 then ${Outcome.CANCELLED} else s.outcome end as outcome
    from unnest($1::varchar[], $2::uuid[], $3::smallint[], $4::smallint[], $5::boolean[], $6::bigint[], $7::int[])
      with ordinality as s (backupid, token, status, outcome, lost, executiontime, entries, n)
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
  )`;

const RUNS = `${CHANGE} select backupid, attempt, n, status, outcome from run`;

const SETTLE = `${CHANGE}, head as (
    insert into backup_log_heads as h (backupid, lastid, sealedid, lastmicros)
    select backupid, entries, case when status >= ${FINISHED_ERR} then entries end, ${epochMicros}
    from run where entries > 0 or status >= ${FINISHED_ERR} order by backupid
    on conflict (backupid) do update set
      lastid = h.lastid + excluded.lastid,
      sealedid = case when excluded.sealedid is null then h.sealedid else h.lastid + excluded.lastid end,
      lastmicros = greatest(h.lastmicros, excluded.lastmicros)
    returning backupid, lastid, lastmicros
  ), heads as (
    select jsonb_object_agg(backupid, lastid) as lastid, jsonb_object_agg(backupid, lastmicros) as micros from head
  ), logged as (
    insert into backup_logs (backupid, id, loglevel, message, created_at, created_nanos, attempt, appended_micros)
    select run.backupid, (heads.lastid->>run.backupid)::bigint - run.entries + e.place, e.level, e.message,
           coalesce(e.seconds, (heads.micros->>run.backupid)::bigint / 1000000),
           coalesce(e.nanos, (heads.micros->>run.backupid)::bigint % 1000000 * 1000), run.attempt,
           case when e.seconds is not null then (heads.micros->>run.backupid)::bigint end
    from heads, unnest($8::int[], $9::int[], $10::smallint[], $11::text[], $12::bigint[], $13::int[])
      as e (run, place, level, message, seconds, nanos)
    join run on run.n = e.run
  )
  select n, status, outcome, null as backupid, null as lastid from run
  union all select null, null, null, backupid, lastid from head`;
