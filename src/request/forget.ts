import type { Pool } from 'pg';
import { epochNow } from '../db/clock.ts';
import { deleteInBatches } from '../db/delete.ts';

/** Forgets the answers that are older than this, the notes of what was deleted and silent writers; returns how many they were. */
export async function forgetAnswers(pool: Pool, olderThanMs: number, signal: AbortSignal): Promise<number> {
  const values = [Math.ceil(olderThanMs / 1000)];
  let forgotten = 0;
  for (const [table, time] of AGED) {
    const where = `${time} < ${epochNow} - $1::bigint`;
    forgotten += await deleteInBatches(pool, { table, where, values }, signal);
  }
  return forgotten;
}

const AGED = [
  ['backup_requests', 'created_at'],
  ['backup_log_requests', 'created_at'],
  ['backup_removals', 'created_at'],
  ['backup_log_writers', 'updated_at'],
] as const;
