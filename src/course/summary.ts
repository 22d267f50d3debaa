import { type FilterObject, type FilterQuery, raw } from '@mikro-orm/core';
import type { MikroORM } from '@mikro-orm/postgresql';
import { epochNow } from '../db/clock.ts';
import { type Row, toBigint } from '../db/sql.ts';
import { Course, claimable, LastStatus, slotDue } from './entity.ts';

/** Courses of one status. Times are epoch seconds, null when there is none. */
export type Group = {
  lastStatus: LastStatus;
  count: bigint;
  due: bigint;
  oldestDue: bigint | null;
  lastSuccess: bigint | null;
};

export async function summarize(orm: MikroORM, filters: FilterQuery<Course>[]): Promise<Group[]> {
  const isDue = `${claimable} and ${slotDue} <= ${epochNow}`;
  const rows = await orm.em
    .fork()
    .createQueryBuilder(Course)
    .select([
      'lastStatus',
      raw('count(*) as count'),
      raw(`count(*) filter (where ${isDue}) as due`),
      raw(`min(${slotDue}) filter (where ${isDue}) as oldest_due`),
      raw(
        `max(lastendtime) filter (where laststatus in ('${LastStatus.OK}', '${LastStatus.WARNING}') and lastendtime > 0) as last_success`,
      ),
    ])
    .where({ $and: filters } as FilterObject<Course>)
    .groupBy('lastStatus')
    .execute<Row[]>('all', false);
  return rows.map(row => ({
    lastStatus: row['laststatus'] as LastStatus,
    count: toBigint(row['count'])!,
    due: toBigint(row['due'])!,
    oldestDue: toBigint(row['oldest_due']),
    lastSuccess: toBigint(row['last_success']),
  }));
}
