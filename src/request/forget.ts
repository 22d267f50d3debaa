import type { Pool } from 'pg';
import { epochNow } from '../db/clock.ts';

/**
 * Forgets the answers that are older than this, and the notes of what was deleted, and returns how many they were. In batches, each a transaction of its own, and past whatever
 * another replica is deleting: every replica does this, and none waits for another.
 */
export async function forgetAnswers(pool: Pool, olderThanMs: number, signal: AbortSignal): Promise<number> {
  let forgotten = 0;
  for (const table of ['backup_requests', 'backup_log_requests', 'backup_removals']) {
    for (let deleted = BATCH; deleted === BATCH && !signal.aborted; forgotten += deleted) {
      const { rowCount } = await pool.query(
        `delete from ${table} where ctid = any (array(
           select ctid from ${table} where created_at < ${epochNow} - $1::bigint
           limit ${BATCH} for update skip locked))`,
        [Math.ceil(olderThanMs / 1000)],
      );
      deleted = rowCount ?? 0;
    }
  }
  return forgotten;
}

const BATCH = 1000;
