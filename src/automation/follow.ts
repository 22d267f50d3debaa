import { type Outcome, Status } from '../controller/lifecycle.ts';
import { type Course, LastStatus } from '../course/entity.ts';
import { type Change, type Circumstances, ended, type Given, requeued } from '../course/lifecycle.ts';
import type { Schedule } from '../course/schedule.ts';
import { lock, write } from '../course/store.ts';
import { readClock } from '../db/clock.ts';
import type { Sql } from '../db/sql.ts';

/** A controller that has changed its status in this transaction. */
export type Moved = {
  backupId: string;
  status: Status;
  outcome: Outcome;
  /** AWAITING: not to be claimed before, in epoch seconds. */
  executionTime?: bigint | undefined;
  /** Finished: the next start that the worker gave. */
  given?: Given;
};

/** Moves the courses whose runs these controllers are, and says whether there were any. They are locked after controllers and logs. */
export async function follow(sql: Sql, moved: Moved[], fallback: Schedule | undefined): Promise<boolean> {
  if (moved.length === 0) return false;
  const byId = new Map(moved.map(one => [one.backupId, one]));
  const courses = await lock(sql, { backupIds: [...byId.keys()] });
  if (courses.length === 0) return false;
  const circumstances = { now: await readClock(sql), fallback };
  const changes = courses.map(course => changeOf(course, byId.get(course.backupId)!, circumstances));
  await write(
    sql,
    changes.filter(change => change !== undefined),
  );
  return true;
}

function changeOf(course: Course, moved: Moved, circumstances: Circumstances): Change | undefined {
  if (moved.status === Status.AWAITING) {
    return { course: requeued(course, moved.executionTime ?? 0n, circumstances), runs: [] };
  }
  // A run that has ended for the course already was put right by the sweeper; the worker is too late.
  const live = course.lastStatus === LastStatus.UNFINISHED || course.lastStatus === LastStatus.QUEUED;
  return live ? ended(course, moved.outcome, moved.given, circumstances) : undefined;
}
