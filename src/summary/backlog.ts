import { dueTime, inQueue } from '../controller/entity.ts';
import { Status } from '../controller/lifecycle.ts';
import { claimable, slotDue } from '../course/entity.ts';
import { epochMillis, epochNow } from '../db/clock.ts';
import type { Sql } from '../db/sql.ts';

/** What waits and what is under way. Counts go up to 10,000; times are seconds. */
export type Backlog = {
  /** Runs that could be claimed now, and since when the longest due one has been due; 0 when there is none. */
  due: number;
  oldestDue: number;
  executing: number;
  /** Of those, the ones whose lease has ended. */
  expired: number;
  courses: number;
  oldestCourse: number;
};

/**
 * Reads it by indexes alone, and no further than it counts, because it is asked for all the time: of 1,000,000 controllers and 200,000 courses, 10,000
 * due of each, in 127 ms (the most of 30 times 187, on a busy machine); `summarize` looks at all rows.
 */
export async function readBacklog(sql: Sql): Promise<Backlog> {
  const [row] = await sql<Record<keyof Backlog, string>>({ name: 'backlog', text: BACKLOG, values: [] });
  return Object.fromEntries(Object.entries(row!).map(([name, value]) => [name, Number(value)])) as Backlog;
}

const MOST = 10_000;

const dueCourses = (neverRun: boolean) => `
  select ${slotDue} as since from backup_courses
  where ${claimable} and ${neverRun ? '' : 'not'} (laststarttime = 0) and ${slotDue} <= ${epochNow} order by ${slotDue} limit ${MOST}`;

// Two reads of the index of courses, as for claims: it leads with whether one has ever run.
const BACKLOG = `
  with due as (
    select ${dueTime} as since from backup_controllers where ${inQueue} and ${dueTime} <= ${epochNow} order by ${dueTime}, id limit ${MOST}
  ), executing as (
    select leasetoken is not null and leaseexpires < ${epochMillis} as expired from backup_controllers where status = ${Status.EXECUTING} limit ${MOST}
  ), courses as (
    (${dueCourses(true)}) union all (${dueCourses(false)})
  )
  select due.*, executing.*, courses.* from
    (select count(*) as "due", coalesce(${epochNow} - min(since), 0) as "oldestDue" from due) due,
    (select count(*) as "executing", count(*) filter (where expired) as "expired" from executing) executing,
    (select count(*) as "courses", coalesce(${epochNow} - min(since), 0) as "oldestCourse" from courses) courses`;
