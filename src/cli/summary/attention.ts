import type { Timestamp } from '@bufbuild/protobuf/wkt';
import { CourseStatus } from '../../gen/backup/v1/course_pb.ts';
import { durationText, millisOf } from '../terminal/times.ts';
import type { Situation } from './situation.ts';

export type Problem = { ink: 'red' | 'yellow'; text: string; hint: string };

/** What somebody should look at, the worst first. */
export function attention({ controllers, courses, ended, nowMs, windowMs }: Situation): Problem[] {
  const problems: Problem[] = [];
  const add = (when: boolean, ink: Problem['ink'], text: string, hint: string) => {
    if (when) problems.push({ ink, text, hint });
  };
  const since = (time: Timestamp | undefined) => (time ? nowMs - millisOf(time) : 0);
  const queued = since(controllers.oldestDueTime);
  const due = since(courses.oldestDueTime);
  const failed = courses.statuses.find(({ status }) => status === CourseStatus.ERROR)?.count ?? 0n;
  const idle = controllers.leased === 0n && (queued > IDLE_MS || due > IDLE_MS);
  add(
    idle,
    'red',
    'work waits and no worker holds any',
    'is a worker running? backupctl controllers list --status awaiting',
  );
  add(
    controllers.expiredLeases > 0n,
    'red',
    `${many(controllers.expiredLeases, 'lease has', 'leases have')} ended and nobody dealt with it`,
    'for longer than a second that is a fault: backupctl doctor',
  );
  add(
    failed > 0n,
    'red',
    `${many(failed, 'course has', 'courses have')} failed`,
    'backupctl courses report --status error',
  );
  add(
    ended.lost > 0,
    'red',
    `${many(ended.lost, 'run was lost with its worker', 'runs were lost with their workers')} in the last ${durationText(windowMs)}`,
    'the log of each says which worker: backupctl controllers list --status finished-err',
  );
  add(
    due > LATE_MS,
    'yellow',
    `${many(courses.due, 'course is', 'courses are')} due, the longest for ${durationText(due)}`,
    'backupctl courses due',
  );
  add(
    queued > LATE_MS,
    'yellow',
    `${many(controllers.queueDepth, 'run waits', 'runs wait')} for a worker, the longest for ${durationText(queued)}`,
    'backupctl controllers list --status awaiting',
  );
  const success = since(courses.lastSuccessTime);
  add(
    success > STALE_MS,
    'yellow',
    `no course was backed up for ${durationText(success)}`,
    'backupctl courses report --order last-end',
  );
  return problems;
}

function many(count: bigint | number, one: string, several: string): string {
  return `${count} ${BigInt(count) === 1n ? one : several}`;
}

/** A worker that waits for work takes it at once. */
const IDLE_MS = 60_000;
const LATE_MS = 3_600_000;
/** A night and a little. */
const STALE_MS = 26 * 3_600_000;
