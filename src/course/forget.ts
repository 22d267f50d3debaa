import type { Pool } from 'pg';
import { epochNow } from '../db/clock.ts';
import { deleteInBatches } from '../db/delete.ts';

/** Deletes the records of starts that were written longer ago than this, in seconds, and returns how many they were. */
export function forgetRuns(pool: Pool, olderThan: number, signal: AbortSignal): Promise<number> {
  const where = `created_at < ${epochNow} - $1::bigint`;
  return deleteInBatches(pool, { table: 'backup_course_runs', where, values: [olderThan] }, signal);
}
