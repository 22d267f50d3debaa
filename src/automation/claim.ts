import { randomUUID } from 'node:crypto';
import { Execution } from '../controller/entity.ts';
import { leaseTo } from '../controller/lease.ts';
import { Status } from '../controller/lifecycle.ts';
import { fromRow as controllerFromRow, type Shown, shownColumns } from '../controller/row.ts';
import { AUTOMATED, type Course, claimable, LastStatus, slotDue } from '../course/entity.ts';
import { claimed } from '../course/lifecycle.ts';
import type { Schedule } from '../course/schedule.ts';
import { courseColumns, fromRow, write } from '../course/store.ts';
import { epochMillis, epochNow, readClock } from '../db/clock.ts';
import type { Row, Sql } from '../db/sql.ts';
import { courseToken } from './token.ts';

/** What a worker asks for. */
export type CourseClaim = { worker: string; most: number; leaseMs: number; userId: bigint; format: string };

/** A course and its run, which is held now. The token is the controller's `leaseToken`. */
export type ClaimedCourse = { course: Course; controller: Shown };

type Options = { skipLocked: boolean; fallback: Schedule | undefined };

/** Gives due courses to a worker, in a transaction of the caller's: those that have never run first, then the longest due. */
export async function claimDue(sql: Sql, claim: CourseClaim, options: Options): Promise<ClaimedCourse[]> {
  const now = await readClock(sql);
  const due = await dueCourses(sql, claim.most, options.skipLocked);
  const held = new Map([
    ...(await continued(sql, due, claim, options.skipLocked)),
    ...(await begun(sql, await withoutRun(sql, due), claim)),
  ]);
  const courses = await write(
    sql,
    due
      .filter(({ courseId }) => held.has(courseId))
      .map(course => ({
        course: claimed(course, held.get(course.courseId)!.backupId, { now, fallback: options.fallback }),
        runs: [],
      })),
  );
  return courses.map(course => ({ course, controller: held.get(course.courseId)! }));
}

/** The first due ones, locked. */
async function dueCourses(sql: Sql, most: number, skipLocked: boolean): Promise<Course[]> {
  const lock = `for update of c${skipLocked ? ' skip locked' : ''}`;
  // Two reads of an index: one for both would look at every course that has never run and is not due.
  const read = async (neverRun: boolean, limit: number) => {
    const text = `select ${courseColumns} from backup_courses c
      where ${claimable} and ${neverRun ? '' : 'not'} (laststarttime = 0) and ${slotDue} <= ${epochNow}
        and not exists (${HELD}) and not exists (${ELSEWHERE})
      order by (laststarttime = 0), ${slotDue}, id limit ${limit} ${lock}`;
    return (await sql<Row>({ text, values: [] })).map(fromRow);
  };
  const first = await read(true, most);
  return first.length < most ? [...first, ...(await read(false, most - first.length))] : first;
}

/** The runs of those that wait for a worker again. */
async function continued(sql: Sql, due: Course[], claim: CourseClaim, skipLocked: boolean): Promise<Held> {
  const ids = due.filter(mayContinue).map(({ backupId }) => backupId);
  if (ids.length === 0) return [];
  const rows = await sql<Row>({
    text: `
      with waiting as materialized (
        select backupid, token from backup_controllers join unnest($1::varchar[], $2::uuid[]) as given (backupid, token) using (backupid)
        where ${WAITING} order by backupid for update of backup_controllers${skipLocked ? ' skip locked' : ''}
      )
      update backup_controllers c set ${leaseTo({ token: 'waiting.token', worker: '$3', ms: '$4::int' })}
      from waiting where c.backupid = waiting.backupid
      returning ${shownColumns}`,
    values: [ids, ids.map(courseToken), claim.worker, claim.leaseMs],
  });
  return rows.map(held);
}

/** Courses whose run is not there to be continued: one that another call has locked will be, a moment later. */
async function withoutRun(sql: Sql, due: Course[]): Promise<Course[]> {
  const ids = due.filter(mayContinue).map(({ backupId }) => backupId);
  if (ids.length === 0) return due;
  const rows = await sql<{ backupid: string }>({
    text: `select backupid from backup_controllers where backupid = any($1::varchar[]) and status in (${Status.AWAITING}, ${Status.EXECUTING})`,
    values: [ids],
  });
  const unfinished = new Set(rows.map(({ backupid }) => backupid));
  return due.filter(course => !mayContinue(course) || !unfinished.has(course.backupId));
}

/** New runs. */
async function begun(sql: Sql, courses: Course[], claim: CourseClaim): Promise<Held> {
  if (courses.length === 0) return [];
  const rows = await sql<Row>({
    text: `
      insert into backup_controllers as c (backupid, leasetoken, itemid, operation, type, purpose, interactive, userid, format, status, execution,
        attempt, leaseworker, leasems, leasedat, leaseexpires, startedat, created_at, updated_at)
      select given.backupid, given.token, given.itemid, 'backup', 'course', ${AUTOMATED}, 0, $6, $7, ${Status.EXECUTING}, ${Execution.IMMEDIATE},
        1, $3, $4::int, ${epochMillis}, ${epochMillis} + $4::int, ${epochNow}, ${epochNow}, ${epochNow}
      from unnest($1::varchar[], $2::uuid[], $5::bigint[]) as given (backupid, token, itemid)
      returning ${shownColumns}`,
    values: [
      courses.map(() => randomUUID().replaceAll('-', '')),
      courses.map(courseToken),
      claim.worker,
      claim.leaseMs,
      courses.map(({ courseId }) => courseId),
      claim.userId,
      claim.format,
    ],
  });
  return rows.map(held);
}

type Held = [courseId: bigint, controller: Shown][];

function held(row: Row): Held[number] {
  const controller = controllerFromRow(row);
  return [controller.itemId, controller];
}

/** Given back by its worker, or to be tried again. */
function mayContinue({ lastStatus, slot, backupId }: Course): boolean {
  return lastStatus === LastStatus.QUEUED && slot > 0n && backupId !== '';
}

// Not DELAYED: those are everybody's.
const WAITING = `status = ${Status.AWAITING} and execution = ${Execution.IMMEDIATE} and leasetoken is null`;

const HELD = `select from backup_controllers r
  where r.type = 'course' and r.itemid = c.courseid and r.operation = 'backup' and r.purpose = ${AUTOMATED} and r.leasetoken is not null`;

// Given back, and then put into the queue of all workers by hand.
const ELSEWHERE = `select from backup_controllers r
  where r.backupid = c.backupid and c.slot > 0 and r.status in (${Status.AWAITING}, ${Status.EXECUTING}) and not (${WAITING})`;
