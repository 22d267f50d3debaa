import { randomUUID } from 'node:crypto';
import { dueTime, Execution, inQueue } from '../controller/entity.ts';
import { leaseTo } from '../controller/lease.ts';
import { Status } from '../controller/lifecycle.ts';
import { fromRow, type Shown, shownColumns } from '../controller/row.ts';
import { epochMillis, epochNow } from '../db/clock.ts';
import type { Row, Sql } from '../db/sql.ts';

/** Which work; what is undefined does not matter. */
export type Wish = {
  operation: string | undefined;
  type: string | undefined;
  purposes: number[] | undefined;
  format: string | undefined;
};

/** What a worker asks for. */
export type Claim = { worker: string; most: number; leaseMs: number };

/** A run that is held now. The token is `leaseToken`. */
export type Held = Shown & { leaseToken: string };

/**
 * Gives due runs to these claims, which all have the same wish: the longest due first, to each claim in turn. Each run becomes EXECUTING with
 * a token and its attempt counted up, in one statement. Rows that another claim has locked are passed over (`skipLocked`; without it they are
 * waited for, and those that are gone then are missing).
 */
export async function claim(sql: Sql, wish: Wish, claims: Claim[], skipLocked: boolean): Promise<Held[][]> {
  const shares = inTurn(claims);
  const rows = await sql<Row & { n: string }>({
    name: `claim-${skipLocked ? '' : 'waiting-'}${shares.length}`,
    text: claimSql(skipLocked, shares.length),
    values: [
      ...wishValues(wish),
      shares.map(() => randomUUID()),
      shares.map(({ worker }) => worker),
      shares.map(({ leaseMs }) => leaseMs),
    ],
  });
  const held = new Map<Claim, Held[]>(claims.map(one => [one, []]));
  for (const row of rows.sort((a, b) => Number(a.n) - Number(b.n))) {
    held.get(shares[Number(row.n) - 1]!)!.push(fromRow(row) as Held);
  }
  return claims.map(one => held.get(one)!);
}

/** In how many milliseconds the next run with this wish is due: 0 when one is due now, undefined when there is none. */
export async function nextDue(sql: Sql, wish: Wish): Promise<number | undefined> {
  const [row] = await sql<{ ms: string }>({
    name: 'next-due',
    text: `select greatest(0, ${dueTime} * 1000 - ${epochMillis}) as ms from backup_controllers
           where ${inQueue} and ${WISH} order by ${dueTime}, id limit 1`,
    values: wishValues(wish),
  });
  return row && Number(row.ms);
}

/** One share of a run for each that is wanted, dealt out in turn, so that a greedy claim leaves something to the others. */
function inTurn(claims: Claim[]): Claim[] {
  const rounds = Math.max(...claims.map(({ most }) => most));
  return Array.from({ length: rounds }, (_, round) => claims.filter(({ most }) => most > round)).flat();
}

function wishValues({ operation, type, purposes, format }: Wish): unknown[] {
  return [operation ?? null, type ?? null, purposes ?? null, format ?? null];
}

const WISH = `($1::varchar is null or operation = $1) and ($2::varchar is null or type = $2)
  and ($3::smallint[] is null or purpose = any($3)) and ($4::varchar is null or format = $4)`;

// $5 to $7 token, worker and lease of each share. `backup_controllers_due` has them in their order. The limit is written out: of one that it
// does not know PostgreSQL believes that it is a tenth of the queue, and sorts all of it.
const claimSql = (skipLocked: boolean, limit: number) => `
  with due as materialized (
    select backupid, ${dueTime} as due, id from backup_controllers
    where ${inQueue} and ${dueTime} <= ${epochNow} and ${WISH}
    order by ${dueTime}, id limit ${limit} for update${skipLocked ? ' skip locked' : ''}
  ), share as (
    select * from unnest($5::uuid[], $6::varchar[], $7::int[]) with ordinality as share (token, worker, ms, n)
  )
  update backup_controllers c set ${leaseTo({ token: 'share.token', worker: 'share.worker', ms: 'share.ms' })}
  from (select backupid, row_number() over (order by due, id) as n from due) as dealt join share using (n)
  where c.backupid = dealt.backupid and c.status = ${Status.AWAITING} and c.execution = ${Execution.DELAYED}
  returning share.n, ${shownColumns}`;
