import type { Doorbell } from '../db/doorbell.ts';

/** The key that is rung when there may be work to claim. */
export const WORK = 'work';

/** Rings for whoever tails the logs of these runs, which tell their state, and for whoever watches the runs themselves. */
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
