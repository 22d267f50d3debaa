import type { Pool } from 'pg';
import { ringChanges } from '../controller/bell.ts';
import type { Status } from '../controller/lifecycle.ts';
import { removeControllers } from '../controller/removal.ts';
import { epochNow } from '../db/clock.ts';
import type { Doorbell } from '../db/doorbell.ts';
import { type Sql, sqlOn, transaction } from '../db/sql.ts';
import { countEntries } from '../log/head.ts';
import { shortenLogs } from '../log/shorten.ts';

/** What may go. Never what a worker holds. */
export type Rule = {
  /**
   * Whole seconds: what was neither changed nor to be started within them. Not the age of a run, by which Moodle deletes: that would take
   * one that finished yesterday, and one that is due tomorrow.
   */
  olderThan: bigint;
  /** Each once. */
  statuses: readonly Status[];
  /** Absent: all. */
  purposes?: readonly number[];
};

export type Purged = {
  controllers: number;
  logEntries: bigint;
  /** Whether there is more that may go. */
  more: boolean;
  /** Up to ten of the controllers, the longest unchanged first. */
  sampleBackupIds: string[];
};

/**
 * Deletes up to `max` controllers, the longest unchanged first, in batches that are transactions of their own, and rings for each. What
 * someone else is changing, or deleting, is passed over: any number may purge at the same time. Returns early when `signal` is aborted.
 */
export async function purge(
  { pool, doorbell }: { pool: Pool; doorbell: Doorbell },
  rule: Rule,
  { max, signal }: { max: number; signal: AbortSignal },
): Promise<Purged> {
  const removed: string[] = [];
  let logEntries = 0n;
  let rest = await longestUnchanged(sqlOn(pool), rule, max);
  while (rest.length > 0 && !signal.aborted) {
    const step = await transaction(pool, sql => takeStep(sql, rule, rest.slice(0, BATCH)));
    ringChanges(doorbell, step.removed);
    removed.push(...step.removed);
    logEntries += step.logEntries;
    rest = [...step.left, ...rest.slice(BATCH)];
  }
  const more = signal.aborted || (await longestUnchanged(sqlOn(pool), rule, 1)).length > 0;
  return { controllers: removed.length, logEntries, more, sampleBackupIds: removed.slice(0, SAMPLE) };
}

/** What `purge` would delete now if nobody was in its way. */
export async function wouldPurge(sql: Sql, rule: Rule, max: number): Promise<Purged> {
  const found = await longestUnchanged(sql, rule, max + 1);
  const backupIds = found.slice(0, max);
  const entries = await countEntries(sql, backupIds);
  return {
    controllers: backupIds.length,
    logEntries: [...entries.values()].reduce((sum, log) => sum + log.entries, 0n),
    more: found.length > max,
    sampleBackupIds: backupIds.slice(0, SAMPLE),
  };
}

type Step = { removed: string[]; logEntries: bigint; left: string[] };

/**
 * Deletes as many of these as have few enough log entries together, or shortens the log of the first one when it alone has too many: no
 * transaction is long, and an append to one of these logs waits for no more than one. If a run changes between two steps, and so may not go
 * any more, its log stays as short as it is.
 */
async function takeStep(sql: Sql, rule: Rule, backupIds: string[]): Promise<Step> {
  const locked = await lock(sql, rule, backupIds);
  const left = backupIds.filter(backupId => locked.has(backupId));
  const counts = await countEntries(sql, left);
  let rows = 0n;
  const tooMany = left.findIndex(backupId => {
    // What is in segments goes with their rows, which are few.
    rows += counts.get(backupId)?.rows ?? 0n;
    return rows > ENTRIES_PER_STEP;
  });
  if (tooMany === 0) {
    const log = counts.get(left[0]!)!;
    const front = { backupId: left[0]!, entries: log.entries - log.rows + ENTRIES_PER_STEP };
    const [shortened] = await shortenLogs(sql, [front], undefined);
    return { removed: [], logEntries: shortened?.removed ?? 0n, left };
  }
  const removed = left.splice(0, tooMany < 0 ? left.length : tooMany);
  return { removed, ...(await removeControllers(sql, removed.toSorted())), left };
}

/** Locks those that still may go and that nobody else has locked. */
async function lock(sql: Sql, rule: Rule, backupIds: string[]): Promise<Set<string>> {
  const rows = await sql<{ backupid: string }>({
    text: `select backupid from backup_controllers
      where backupid = any ($4) and status = any ($1) and ${MAY_GO}
      order by backupid for update skip locked`,
    values: [...valuesOf(rule), backupIds],
  });
  return new Set(rows.map(row => row.backupid));
}

/**
 * In the order of their last change. Status by status, because within one the index has them in that order: 1000 of 200,000 take 15 ms, and
 * 350 when the statuses are asked for together, because then all that is old is read and sorted.
 */
async function longestUnchanged(sql: Sql, rule: Rule, limit: number): Promise<string[]> {
  const rows = await sql<{ backupid: string }>({
    text: `select c.backupid
      from unnest($1::smallint[]) as s (status)
      cross join lateral (
        select backupid, updated_at, id from backup_controllers
        where status = s.status and ${MAY_GO}
        order by updated_at, id limit $4
      ) c
      order by c.updated_at, c.id limit $4`,
    values: [...valuesOf(rule), limit],
  });
  return rows.map(row => row.backupid);
}

// $1 statuses, $2 age, $3 purposes. `created_at` too: other programs may leave `updated_at` at 0 until the first change.
const MAY_GO = `
  updated_at < ${epochNow} - $2::bigint and executiontime < ${epochNow} - $2::bigint and created_at < ${epochNow} - $2::bigint
  and leasetoken is null and ($3::smallint[] is null or purpose = any ($3))`;

function valuesOf({ olderThan, statuses, purposes }: Rule): unknown[] {
  return [statuses, olderThan, purposes ?? null];
}

const BATCH = 100;
const ENTRIES_PER_STEP = 10_000n;
const SAMPLE = 10;
