import { readClock } from '../db/clock.ts';
import type { Sql } from '../db/sql.ts';
import type { Course } from './entity.ts';
import { type Circumstances, nextStart, rescheduled } from './lifecycle.ts';
import type { Schedule } from './schedule.ts';
import { courseColumns, fromRow, lock, write } from './store.ts';

/** A course as it is wanted: its own schedule as text, and its next start in epoch seconds; undefined leaves it to the schedule. */
export type Wanted = { courseId: bigint; schedule: string; nextStartTime: bigint | undefined };

/** The courses by id as they are now, and how many of them are new. */
export type Upserted = { courses: Map<bigint, Course>; created: number };

/**
 * Creates courses and reschedules others. `refuse` is shown those that there are, locked, and may throw. Rows are locked and made in the order of
 * their ids, so that two batches that share courses wait for each other.
 */
export async function upsert(
  sql: Sql,
  wanted: Wanted[],
  fallback: Schedule | undefined,
  refuse: (existing: Map<bigint, Course>) => void,
): Promise<Upserted> {
  const ids = wanted.map(({ courseId }) => courseId);
  const existing = new Map((await lock(sql, { courseIds: ids })).map(course => [course.courseId, course]));
  refuse(existing);
  const circumstances = { now: await readClock(sql), fallback };
  const changes = wanted.flatMap(one => {
    const course = existing.get(one.courseId);
    return course ? [rescheduled(course, { ...one, next: nextOf(one, course, circumstances) }, circumstances)] : [];
  });
  const created = await insert(
    sql,
    wanted
      .filter(({ courseId }) => !existing.has(courseId))
      .map(one => ({ ...one, nextStartTime: nextOf(one, undefined, circumstances) })),
  );
  const all = [...(await write(sql, changes)), ...created.courses];
  return { courses: new Map(all.map(course => [course.courseId, course])), created: created.count };
}

function nextOf(one: Wanted, course: Course | undefined, circumstances: Circumstances): bigint {
  if (one.nextStartTime !== undefined) return one.nextStartTime;
  if (!one.schedule && !circumstances.fallback) return 0n;
  // Whoever sends all courses every night must not push away those that are due.
  if (course && course.schedule === one.schedule && course.nextStartTime > 0n) return course.nextStartTime;
  return nextStart({ schedule: one.schedule, slot: 0n, nextStartTime: 0n }, undefined, circumstances);
}

async function insert(
  sql: Sql,
  courses: { courseId: bigint; schedule: string; nextStartTime: bigint }[],
): Promise<{ courses: Course[]; count: number }> {
  if (courses.length === 0) return { courses: [], count: 0 };
  // Another call may have created one a moment ago.
  const rows = await sql<{ created: boolean }>({
    text: `insert into backup_courses as c (courseid, nextstarttime, schedule)
           select * from unnest($1::bigint[], $2::bigint[], $3::varchar[]) as wanted (courseid, nextstarttime, schedule) order by courseid
           on conflict (courseid) do update set
             nextstarttime = excluded.nextstarttime, schedule = excluded.schedule, revision = c.revision + 1
           returning ${courseColumns}, xmax = 0 as created`,
    values: [
      courses.map(({ courseId }) => courseId),
      courses.map(({ nextStartTime }) => nextStartTime),
      courses.map(({ schedule }) => schedule),
    ],
  });
  return { courses: rows.map(fromRow), count: rows.filter(({ created }) => created).length };
}
