import type { Pool } from 'pg';
import { type Repaired, repair } from '../automation/repair.ts';
import { Outcome, Status } from '../controller/lifecycle.ts';
import { fromRow, type Shown, shownColumns } from '../controller/row.ts';
import type { Schedule } from '../course/schedule.ts';
import { epochMillis } from '../db/clock.ts';
import { type Row, type Sql, transaction } from '../db/sql.ts';
import { Level } from '../log/level.ts';
import { type Settlement, settleWithCourses } from './settle.ts';

/** A run whose worker was lost, and where it went. */
export type Lost = { run: Shown; status: Status };

/** What was put right. */
export type Swept = { lost: Lost[]; repaired: Repaired[] };

/**
 * Takes runs from workers that were not heard of until their leases ended: back to the queue while attempts are left, else to their end; the
 * log says who held them and since when; and courses that say they are running while nobody runs them. Every replica does this all the time; who finds that another one has looked within `intervalMs`, or
 * is looking, does nothing. So there is no leader to lose, and more replicas do not mean more work.
 *
 * After a time in which nobody looked (the service or the database was away, and no worker could be heard of either) leases first get their
 * whole duration again.
 */
export function sweep(pool: Pool, intervalMs: number, fallback?: Schedule): Promise<Swept> {
  return transaction(pool, async sql => {
    const awayMs = await takeTurn(sql, intervalMs);
    if (awayMs === undefined) return { lost: [], repaired: [] };
    if (awayMs > Math.max(5000, 10 * intervalMs)) await grantAgain(sql);
    const runs = await expired(sql);
    const lost = runs.map(run => ({ run, settlement: lossOf(run) }));
    await settleWithCourses(
      sql,
      lost.map(({ settlement }) => settlement),
      fallback,
    );
    return {
      lost: lost.map(({ run, settlement }) => ({ run, status: settlement.status })),
      repaired: await repair(sql, fallback),
    };
  });
}

/** How long ago leases were last looked at, in milliseconds; undefined when it is not the time to do it again. */
async function takeTurn(sql: Sql, intervalMs: number): Promise<number | undefined> {
  const [last] = await sql<{ ago: string }>({
    name: 'sweep-last',
    text: `select ${epochMillis} - value::bigint as ago from backup_settings where name = 'last_sweep' for update skip locked`,
    values: [],
  });
  if (!last) return undefined;
  const ago = Number(last.ago);
  // Less than nothing: the clock was set back, or the database has moved to a machine whose clock is behind.
  if (ago >= 0 && ago < intervalMs) return undefined;
  await sql({
    name: 'sweep-turn',
    text: `update backup_settings set value = ${epochMillis}::text where name = 'last_sweep'`,
    values: [],
  });
  return ago;
}

// Waits for rows that others have locked: one that was left out would be taken away a moment later.
async function grantAgain(sql: Sql): Promise<void> {
  await sql({
    text: `with held as materialized (
             select backupid from backup_controllers where status = ${Status.EXECUTING} and leasetoken is not null
             order by backupid for no key update
           )
           update backup_controllers c set leaseexpires = greatest(c.leaseexpires, ${epochMillis} + c.leasems)
           from held where c.backupid = held.backupid`,
    values: [],
  });
}

/** Leases that have ended, locked. One that somebody else has locked is being renewed or ended: the next round will see. */
async function expired(sql: Sql): Promise<Shown[]> {
  const rows = await sql<Row>({
    name: 'sweep-expired',
    text: `select ${shownColumns} from backup_controllers c
           where status = ${Status.EXECUTING} and leasetoken is not null and leaseexpires < ${epochMillis}
           order by backupid limit ${MOST} for update skip locked`,
    values: [],
  });
  return rows.map(fromRow);
}

/** Runs in one round: a transaction stays short, and what is left is found in the next one. */
const MOST = 500;

function lossOf(run: Shown): Settlement {
  const { backupId, leaseToken, leaseWorker, attempt, cancelRequestedAt } = run;
  const since = new Date(Number(run.leasedAt)).toISOString();
  const until = new Date(Number(run.leaseExpires)).toISOString();
  const lost = `Lost: ${leaseWorker} had held this run since ${since} (attempt ${attempt}) and was not heard of until ${until}`;
  const settlement = { backupId, token: leaseToken!, lost: true };
  const entry = (level: number, message: string) => ({ level, message, at: undefined });
  if (cancelRequestedAt > 0n) {
    const entries = [entry(Level.ERROR, `${lost}; it was to be cancelled`)];
    return { ...settlement, status: Status.FINISHED_ERR, outcome: Outcome.CANCELLED, entries };
  }
  if (run.lostAttempts + 1 < run.maxAttempts) {
    const entries = [entry(Level.ERROR, `${lost}; it waits for another worker`)];
    return { ...settlement, status: Status.AWAITING, outcome: 0, entries };
  }
  return { ...settlement, status: Status.FINISHED_ERR, outcome: Outcome.LOST, entries: [entry(Level.ERROR, lost)] };
}
