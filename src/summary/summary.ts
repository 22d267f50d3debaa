import { type FilterObject, type FilterQuery, IsolationLevel, raw } from '@mikro-orm/core';
import type { EntityManager, MikroORM } from '@mikro-orm/postgresql';
import { Controller, dueTime, inQueue } from '../controller/entity.ts';
import { type Operation, Outcome, Status } from '../controller/lifecycle.ts';
import { epochMillis, epochNow } from '../db/clock.ts';
import { type Row, toBigint } from '../db/sql.ts';

/** Controllers of one status, operation and purpose. Times are epoch seconds, null when there is none. */
export type Group = {
  status: Status;
  operation: Operation;
  purpose: number;
  count: bigint;
  /** Of those, the ones that could be claimed now. */
  due: bigint;
  oldestDue: bigint | null;
  leased: bigint;
  /** Of the leased ones, those whose lease has ended. */
  expired: bigint;
  lastSuccess: bigint | null;
};

/** Seconds from EXECUTING to the end; no percentiles when there are no runs. */
export type Durations = { count: bigint; percentiles: bigint[] };

/** Epoch seconds: closed at its start, open at its end. */
export type Window = { start?: bigint | undefined; end?: bigint | undefined };

/**
 * Counts controllers, from one snapshot. Durations are of the successful runs that ended within the window; without one, in the last 24 hours.
 */
export async function summarize(
  orm: MikroORM,
  filter: FilterQuery<Controller>,
  window: Window | undefined,
): Promise<{ groups: Group[]; durations: Durations }> {
  return orm.em
    .fork()
    .transactional(
      async em => ({ groups: await groupsOf(em, filter), durations: await durationsOf(em, filter, window) }),
      { isolationLevel: IsolationLevel.REPEATABLE_READ, readOnly: true },
    );
}

/**
 * One scan for all counts. Of 1,000,000 controllers it takes 1.3 s, where counting them and nothing else takes 0.4; by a filter that an index
 * serves, milliseconds. Counters that are kept with every change would be quick to read, but all writers would wait for the same few rows.
 */
async function groupsOf(em: EntityManager, filter: FilterQuery<Controller>): Promise<Group[]> {
  const isDue = `${inQueue} and ${dueTime} <= ${epochNow}`;
  const rows = await em
    .createQueryBuilder(Controller)
    .select([
      'status',
      'operation',
      'purpose',
      raw('count(*) as count'),
      raw(`count(*) filter (where ${isDue}) as due`),
      raw(`min(${dueTime}) filter (where ${isDue}) as oldest_due`),
      raw('count(leasetoken) as leased'),
      raw(`count(*) filter (where leasetoken is not null and leaseexpires < ${epochMillis}) as expired`),
      raw(`max(endedat) filter (where status = ${Status.FINISHED_OK} and endedat > 0) as last_success`),
    ])
    .where(filter as FilterObject<Controller>)
    .groupBy(['status', 'operation', 'purpose'])
    .execute<Row[]>('all', false);
  return rows.map(row => ({
    status: row['status'] as Status,
    operation: row['operation'] as Operation,
    purpose: row['purpose'] as number,
    count: toBigint(row['count'])!,
    due: toBigint(row['due'])!,
    oldestDue: toBigint(row['oldest_due']),
    leased: toBigint(row['leased'])!,
    expired: toBigint(row['expired'])!,
    lastSuccess: toBigint(row['last_success']),
  }));
}

async function durationsOf(
  em: EntityManager,
  filter: FilterQuery<Controller>,
  { start, end }: Window = { start: raw<bigint>(`${epochNow} - 86400`) },
): Promise<Durations> {
  const from = start === undefined ? {} : { $gte: start };
  const [row] = await em
    .createQueryBuilder(Controller)
    .select([
      raw('count(*) as count'),
      raw('percentile_disc(array[0.5, 0.95]) within group (order by endedat - startedat) as percentiles'),
    ])
    .where(filter as FilterObject<Controller>)
    .andWhere({
      status: Status.FINISHED_OK,
      outcome: { $in: [Outcome.SUCCEEDED, Outcome.SUCCEEDED_WITH_WARNINGS] },
      startedAt: { $gt: 0n },
      endedAt: { ...from, ...(end !== undefined && { $lt: end }) },
      // No run ends after its last change: with this, the runs of the window are found by an index.
      updatedAt: from,
    })
    .execute<Row[]>('all', false);
  const percentiles = row!['percentiles'] as string[] | null;
  return { count: toBigint(row!['count'])!, percentiles: (percentiles ?? []).map(BigInt) };
}
