import type { Pool } from 'pg';
import { epochNow } from '../db/clock.ts';

/**
 * Deletes the records of starts that were written longer ago than this, in seconds, and returns how many they were. In batches, each a transaction of
 * its own, and past whatever another replica is deleting.
 */
export async function forgetRuns(pool: Pool, olderThan: number, signal: AbortSignal): Promise<number> {
  let forgotten = 0;
  for (let deleted = BATCH; deleted === BATCH && !signal.aborted; forgotten += deleted) {
    const { rowCount } = await pool.query(
      `delete from backup_course_runs where ctid = any (array(
         select ctid from backup_course_runs where created_at < ${epochNow} - $1::bigint limit ${BATCH} for update skip locked))`,
      [olderThan],
    );
    deleted = rowCount ?? 0;
  }
  return forgotten;
}

const BATCH = 1000;
