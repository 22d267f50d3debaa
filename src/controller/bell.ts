import type { Doorbell } from '../db/doorbell.ts';
import { Execution } from './entity.ts';
import { Status } from './lifecycle.ts';

/** The key that is rung when there may be work to claim. */
export const WORK = 'work';

/** Rings for whoever tails the log of this run, which tells its state, watches the run itself, or waits for work. */
export function ringChange(doorbell: Doorbell, run: Ringing): void {
  ringChanges(doorbell, [run.backupId]);
  if (run.status === Status.AWAITING && run.execution === Execution.DELAYED) doorbell.ring(WORK);
}

/** What a change answers, once it is committed and rung for. */
export async function rung<T extends { controller?: Partial<Ringing> | undefined }>(
  doorbell: Doorbell,
  change: Promise<T>,
): Promise<T> {
  const answer = await change;
  ringChange(doorbell, answer.controller as Ringing);
  return answer;
}

type Ringing = { backupId: string; status: number; execution: number };

/** Rings for whoever tails the logs of these runs or watches them; none of them is new work. */
export function ringChanges(doorbell: Doorbell, backupIds: Iterable<string>): void {
  for (const backupId of backupIds) {
    doorbell.ring(backupId);
    doorbell.ring(CHANGED + backupId);
  }
}

/** The backup id of a key that tells of a changed controller; undefined for other keys. */
export function changedBackupId(key: string): string | undefined {
  return key.startsWith(CHANGED) ? key.slice(CHANGED.length) : undefined;
}

// Logs are rung for by the bare id, a thousand times as often.
const CHANGED = '+';
