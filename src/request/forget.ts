import type { Pool } from 'pg';
import { epochNow } from '../db/clock.ts';
import { deleteInBatches } from '../db/sql.ts';

/** Forgets the answers that are older than this, and the notes of what was deleted, and returns how many they were. */
export async function forgetAnswers(pool: Pool, olderThanMs: number, signal: AbortSignal): Promise<number> {
  const aged = { where: `created_at < ${epochNow} - $1::bigint`, values: [Math.ceil(olderThanMs / 1000)] };
  let forgotten = 0;
  for (const table of ['backup_requests', 'backup_log_requests', 'backup_removals']) {
    forgotten += await deleteInBatches(pool, { table, ...aged }, signal);
  }
  return forgotten;
}
