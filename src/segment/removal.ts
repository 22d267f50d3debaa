import { epochNow } from '../db/clock.ts';
import type { Sql } from '../db/sql.ts';
import type { Store } from './store.ts';

/** Takes all segments from these logs; their objects go after the commit. Part of the transaction that deletes the logs. */
export async function removeSegments(sql: Sql, backupIds: string[]): Promise<void> {
  await sql({
    text: `with gone as (delete from backup_log_segments where backupid = any ($1) returning backupid, key)
      insert into backup_segment_removals (backupid, key, due_at) select backupid, key, ${epochNow} from gone`,
    values: [backupIds],
  });
}

/** Writes down that an object is about to be written: until it is part of a log it is one to remove, in a while. */
export async function announceObject(sql: Sql, backupId: string, key: string, seconds: number): Promise<void> {
  await sql({
    text: `insert into backup_segment_removals (backupid, key, due_at) values ($1, $2, ${epochNow} + $3)`,
    values: [backupId, key, seconds],
  });
}

/** Whether the object is still to be kept: false when it took so long that somebody has begun to remove it. Part of the transaction that keeps it. */
export async function keepObject(sql: Sql, backupId: string, key: string): Promise<boolean> {
  const kept = await sql({
    text: 'delete from backup_segment_removals where backupid = $1 and key = $2 and attempts = 0 returning 1',
    values: [backupId, key],
  });
  return kept.length > 0;
}

/**
 * It is not kept, and never will be: it goes in so many seconds. Also when somebody has removed it before it came, because whoever was to write it
 * stood still for too long.
 */
export async function giveUpObject(sql: Sql, backupId: string, key: string, seconds: number): Promise<void> {
  await sql({
    text: `insert into backup_segment_removals as given (backupid, key, due_at, attempts) values ($1, $2, ${epochNow} + $3, 1)
      on conflict (backupid, key) do update set due_at = excluded.due_at, attempts = given.attempts + 1`,
    values: [backupId, key, seconds],
  });
}

/** It may go at once, unless it was kept. */
export async function hurryRemoval(sql: Sql, backupId: string, key: string): Promise<void> {
  await sql({
    text: `update backup_segment_removals set due_at = ${epochNow} where backupid = $1 and key = $2`,
    values: [backupId, key],
  });
}

/** Whether somebody writes an object of this log at the moment. */
export async function isBeingWritten(sql: Sql, backupId: string): Promise<boolean> {
  const found = await sql({
    text: `select 1 from backup_segment_removals where backupid = $1 and attempts = 0 and due_at > ${epochNow} limit 1`,
    values: [backupId],
  });
  return found.length > 0;
}

/**
 * Removes objects whose time has come, and returns how many. Each is taken by a compare-and-set on its row, so any number may do this at the same time;
 * whoever breaks in between leaves the row, and it is tried again a while later.
 */
export async function removeObjects(sql: Sql, store: Store, signal: AbortSignal): Promise<number> {
  let removed = 0;
  while (!signal.aborted) {
    const due = await sql<{ backupid: string; key: string; attempts: number }>({
      text: `select backupid, key, attempts from backup_segment_removals where due_at <= ${epochNow} order by due_at limit ${BATCH}`,
      values: [],
    });
    for (const { backupid, key, attempts } of due) {
      if (signal.aborted) break;
      const taken = await sql({
        text: `update backup_segment_removals set attempts = attempts + 1, due_at = ${epochNow} + least($4, 60 * ($3 + 1))
          where backupid = $1 and key = $2 and attempts = $3 and due_at <= ${epochNow} returning 1`,
        values: [backupid, key, attempts, LONGEST_PAUSE],
      });
      if (taken.length === 0) continue;
      await store.remove(key, signal);
      await sql({
        text: 'delete from backup_segment_removals where backupid = $1 and key = $2',
        values: [backupid, key],
      });
      removed++;
    }
    if (due.length < BATCH) break;
  }
  return removed;
}

const BATCH = 100;

/** Between attempts that fail, in seconds. */
const LONGEST_PAUSE = 3600;
