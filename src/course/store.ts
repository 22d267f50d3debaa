import { epochNow } from '../db/clock.ts';
import type { Row, Sql } from '../db/sql.ts';
import { type Course, type LastStatus, RunKind } from './entity.ts';
import type { Change, NewRun } from './lifecycle.ts';

/** The columns of a course, for statements that are not the ORM's. */
export const courseColumns =
  'c.courseid, c.id, c.laststarttime, c.lastendtime, c.laststatus, c.nextstarttime, c.revision, c.schedule, c.backupid, c.slot, c.queuedfor';

/** Those of these controllers, or of these ids, locked until the transaction ends; in the order of their ids, as everybody locks them. */
export async function lock(sql: Sql, which: { courseIds: bigint[] } | { backupIds: string[] }): Promise<Course[]> {
  const [column, type, values] =
    'courseIds' in which ? ['courseid', 'bigint', which.courseIds] : ['backupid', 'varchar', which.backupIds];
  const rows = await sql({
    name: `lock-courses-${column}`,
    text: `select ${courseColumns} from backup_courses c where c.${column} = any($1::${type}[]) order by c.courseid for update`,
    values: [values],
  });
  return rows.map(fromRow);
}

/** Writes locked courses as they shall be, with a new revision, and the records that go with them. */
export async function write(sql: Sql, changes: Change[]): Promise<Course[]> {
  if (changes.length === 0) return [];
  const courses = changes.map(({ course }) => ({ ...course, revision: course.revision + 1 }));
  await sql({
    name: 'write-courses',
    text: `update backup_courses c set laststarttime = w.laststarttime, lastendtime = w.lastendtime, laststatus = w.laststatus,
             nextstarttime = w.nextstarttime, revision = w.revision, schedule = w.schedule, backupid = w.backupid, slot = w.slot, queuedfor = w.queuedfor
           from unnest($1::bigint[], $2::bigint[], $3::bigint[], $4::varchar[], $5::bigint[], $6::int[], $7::varchar[], $8::varchar[], $9::bigint[], $10::bigint[])
             as w (courseid, laststarttime, lastendtime, laststatus, nextstarttime, revision, schedule, backupid, slot, queuedfor)
           where c.courseid = w.courseid`,
    values: [
      courses.map(({ courseId }) => courseId),
      courses.map(({ lastStartTime }) => lastStartTime),
      courses.map(({ lastEndTime }) => lastEndTime),
      courses.map(({ lastStatus }) => lastStatus),
      courses.map(({ nextStartTime }) => nextStartTime),
      courses.map(({ revision }) => revision),
      courses.map(({ schedule }) => schedule),
      courses.map(({ backupId }) => backupId),
      courses.map(({ slot }) => slot),
      courses.map(({ queuedFor }) => queuedFor),
    ],
  });
  await record(
    sql,
    changes.flatMap(({ runs }) => runs),
  );
  return courses;
}

/**
 * A start has one record. A run that was asked for in the second of another start gets the next second that is free: it must be told of, and
 * nobody waits for a start of that time.
 */
async function record(sql: Sql, runs: NewRun[]): Promise<void> {
  if (runs.length === 0) return;
  const rows = await sql<{ courseid: string; slot: string }>({
    name: 'record-course-runs',
    text: `insert into backup_course_runs (courseid, slot, kind, backupid, outcome, reason, startedat, endedat, created_at)
           select *, ${epochNow} from unnest($1::bigint[], $2::bigint[], $3::smallint[], $4::varchar[], $5::smallint[], $6::text[], $7::bigint[], $8::bigint[])
           on conflict do nothing returning courseid, slot`,
    values: [
      runs.map(({ courseId }) => courseId),
      runs.map(({ slot }) => slot),
      runs.map(({ kind }) => kind),
      runs.map(({ backupId }) => backupId),
      runs.map(({ outcome }) => outcome),
      runs.map(({ reason }) => reason),
      runs.map(({ startedAt }) => startedAt),
      runs.map(({ endedAt }) => endedAt),
    ],
  });
  const written = new Set(rows.map(({ courseid, slot }) => `${courseid} ${slot}`));
  const left = runs.filter(({ kind, courseId, slot }) => kind === RunKind.RAN && !written.has(`${courseId} ${slot}`));
  await record(
    sql,
    left.map(run => ({ ...run, slot: run.slot + 1n })),
  );
}

export function fromRow(row: Row): Course {
  const number = (column: string) => BigInt(row[column] as string);
  return {
    courseId: number('courseid'),
    id: number('id') as Course['id'],
    lastStartTime: number('laststarttime'),
    lastEndTime: number('lastendtime'),
    lastStatus: row['laststatus'] as LastStatus,
    nextStartTime: number('nextstarttime'),
    revision: row['revision'] as number,
    schedule: row['schedule'] as string,
    backupId: row['backupid'] as string,
    slot: number('slot'),
    queuedFor: number('queuedfor'),
  };
}
