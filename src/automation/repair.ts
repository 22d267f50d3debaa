import { Outcome, Status } from '../controller/lifecycle.ts';
import { LastStatus } from '../course/entity.ts';
import { ended, requeued } from '../course/lifecycle.ts';
import type { Schedule } from '../course/schedule.ts';
import { courseColumns, fromRow, write } from '../course/store.ts';
import { readClock } from '../db/clock.ts';
import type { Row, Sql } from '../db/sql.ts';

/** A course that was said to be running and was not, and what it is now. */
export type Repaired = { courseId: bigint; backupId: string; lastStatus: LastStatus };

/**
 * Puts courses right that are UNFINISHED without a worker that holds their run (it was deleted or moved by hand, or is from before this
 * service), and those whose run has ended elsewhere while they were QUEUED for it. What the controller says is believed; if it says nothing, the run was lost. Nothing is OK only because time has passed.
 */
export async function repair(sql: Sql, fallback: Schedule | undefined): Promise<Repaired[]> {
  const rows = await sql<Row & { status: Status | null; outcome: Outcome | null; executiontime: string }>({
    name: 'repair-courses',
    text: `select ${courseColumns}, r.status, r.outcome, r.executiontime
           from backup_courses c left join backup_controllers r on r.backupid = c.backupid
           where c.laststatus = '${LastStatus.UNFINISHED}' and (r.status is distinct from ${Status.EXECUTING} or r.leasetoken is null)
             or c.laststatus = '${LastStatus.QUEUED}' and c.slot > 0 and r.status >= ${Status.FINISHED_ERR}
           order by c.courseid limit ${MOST} for update of c skip locked`,
    values: [],
  });
  if (rows.length === 0) return [];
  const circumstances = { now: await readClock(sql), fallback };
  const changes = rows.map(row => {
    const course = fromRow(row);
    if (row.status === Status.AWAITING) {
      return { course: requeued(course, BigInt(row.executiontime), circumstances), runs: [] };
    }
    const finished = row.status === Status.FINISHED_OK || row.status === Status.FINISHED_ERR;
    return ended(course, finished ? outcomeOf(row.status!, row.outcome!) : Outcome.LOST, undefined, circumstances);
  });
  const courses = await write(sql, changes);
  return courses.map(({ courseId, backupId, lastStatus }) => ({ courseId, backupId, lastStatus }));
}

/** Of a controller that was finished by hand: that says no outcome. */
function outcomeOf(status: Status, outcome: Outcome): Outcome {
  if (outcome) return outcome;
  return status === Status.FINISHED_OK ? Outcome.SUCCEEDED : Outcome.FAILED;
}

const MOST = 500;
