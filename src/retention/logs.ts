import { readClock } from '../db/clock.ts';
import type { Doorbell } from '../db/doorbell.ts';
import { type Sql, sqlOn, transaction } from '../db/sql.ts';
import { movedFronts } from '../log/moved-front.ts';
import { least } from '../log/page.ts';
import { countOld, deleteForsaken, type Front, type Shortened, shortenLogs } from '../log/shorten.ts';
import type { Logs } from '../segment/archive.ts';
import { type AgedLog, type LogRule, oldestLogs } from './oldest.ts';

export type PurgedLogs = {
  entries: bigint;
  logs: number;
  /** Whether there is more that may go. */
  more: boolean;
  /** Up to ten of the logs, the one with the oldest entry first. */
  sampleBackupIds: string[];
};

type Limits = { max: number; signal: AbortSignal };

/**
 * Removes up to `max` old entries, those of the log whose first one is the oldest first, in batches that are transactions of their own, and
 * deletes the logs that nothing is left of. Any number may do so at the same time: whoever finds that another one is at the same log turns to
 * others first. Returns early when `signal` is aborted.
 */
export async function purgeLogs(
  { pool, archive, doorbell }: Logs & { doorbell: Doorbell },
  rule: LogRule,
  { max, signal }: Limits,
): Promise<PurgedLogs> {
  const sql = sqlOn(pool);
  const before = await ageLimit(sql, rule);
  const { logs: queue, more } = await oldestLogs(sql, rule, before, signal);
  const touched = new Set<string>();
  let left = BigInt(max);
  while (queue.length > 0 && left > 0n && !signal.aborted) {
    const step = nextStep(queue, left);
    const moved = await movedFronts({ pool, archive }, step.fronts, before, rule.backupId !== undefined);
    const shortened = await transaction(pool, sql => shortenLogs(sql, step.fronts, before, moved));
    // Not in the same transaction: heads are locked by it, and who deletes locks writers before heads.
    const deleted = await transaction(pool, sql => deleteForsaken(sql, emptied(step, shortened), before));
    const removed = new Map(shortened.map(log => [log.backupId, log.removed]));
    for (const { backupId } of step.logs) {
      if (!removed.get(backupId) && !deleted.includes(backupId)) continue;
      touched.add(backupId);
      doorbell.ring(backupId);
    }
    left -= shortened.reduce((sum, log) => sum + log.removed, 0n);
    putBack(queue, step, shortened);
  }
  return {
    entries: BigInt(max) - left,
    logs: touched.size,
    more: more || signal.aborted || (await wouldTake({ pool, archive }, rule, queue, before, 0n)).more,
    sampleBackupIds: [...touched].slice(0, SAMPLE),
  };
}

/** What `purgeLogs` would do now if nobody else did. */
export async function wouldPurgeLogs(source: Logs, rule: LogRule, { max, signal }: Limits): Promise<PurgedLogs> {
  const sql = sqlOn(source.pool);
  const before = await ageLimit(sql, rule);
  const { logs, more } = await oldestLogs(sql, rule, before, signal);
  const would = await wouldTake(source, rule, logs, before, BigInt(max));
  return { ...would, more: more || would.more };
}

async function ageLimit(sql: Sql, { olderThan }: LogRule): Promise<bigint | undefined> {
  return olderThan === undefined ? undefined : (await readClock(sql)) - olderThan;
}

type Step = { logs: AgedLog[]; fronts: Front[] };

/** Takes logs from the queue that have few enough entries together; the first one in any case, though not all of its entries. */
function nextStep(queue: AgedLog[], left: bigint): Step {
  const logs: AgedLog[] = [];
  // What is in segments goes with their rows, which are few.
  let [rows, entries] = [ENTRIES_PER_STEP, left];
  const fits = (log: AgedLog) => log.rows <= rows && log.entries <= entries;
  while (queue[0] && logs.length < LOGS_PER_STEP && (logs.length === 0 || fits(queue[0]))) {
    rows -= queue[0].rows;
    entries -= queue[0].entries;
    logs.push(queue.shift()!);
  }
  const fronts = logs.map(log => ({
    backupId: log.backupId,
    entries: least(log.entries, least(left, log.entries - log.rows + ENTRIES_PER_STEP)),
  }));
  return { logs, fronts };
}

/**
 * Logs without a controller of which nothing may be left: all went that was counted, or less was there, because others are at it, too; each of
 * them may believe that there is more, and then nobody else would look.
 */
function emptied({ logs, fronts }: Step, shortened: Shortened[]): string[] {
  const old = new Map(shortened.map(log => [log.backupId, log.old]));
  const isEmptied = (log: AgedLog, { entries }: Front) => entries === log.entries || old.get(log.backupId) !== entries;
  return logs.filter((log, i) => log.orphan && isEmptied(log, fronts[i]!)).map(log => log.backupId);
}

/** Logs of a step again: those that were moved meanwhile, and the one that has more than one may take, at once, or as the last one when somebody else is at it. */
function putBack(queue: AgedLog[], { logs, fronts: [front] }: Step, shortened: Shortened[]): void {
  const moved = new Set(shortened.filter(one => one.moved).map(({ backupId }) => backupId));
  queue.push(...logs.filter(({ backupId }) => moved.has(backupId)));
  const [log] = logs;
  const done = shortened.find(one => one.backupId === log!.backupId);
  if (done?.old !== front!.entries || done.old === log!.entries) return;
  const entries = log!.entries - done.old;
  const rest = { ...log!, entries, rows: least(log!.rows, entries) };
  if (done.removed === done.old) queue.unshift(rest);
  else queue.push(rest);
}

/** What would be removed of these logs, one after the other. */
async function wouldTake(
  source: Logs,
  rule: LogRule,
  logs: AgedLog[],
  before: bigint | undefined,
  max: bigint,
): Promise<PurgedLogs> {
  const touched: string[] = [];
  let left = max;
  const told = (more: boolean) => ({
    entries: max - left,
    logs: touched.length,
    more,
    sampleBackupIds: touched.slice(0, SAMPLE),
  });
  for (let at = 0; at < logs.length; at += LOGS_PER_STEP) {
    const some = logs.slice(at, at + LOGS_PER_STEP);
    const fronts = some.map(({ backupId, entries }) => ({ backupId, entries: least(entries, left + 1n) }));
    const moved = await movedFronts(source, fronts, before, rule.backupId !== undefined);
    const counts = await countOld(sqlOn(source.pool), fronts, before, moved);
    for (const { backupId, entries, orphan } of some) {
      const old = counts.get(backupId) ?? 0n;
      if (old === 0n && !(orphan && entries === 0n)) continue;
      if (left === 0n) return told(true);
      touched.push(backupId);
      const more = old > left;
      left -= least(old, left);
      if (more) return told(true);
    }
  }
  return told(false);
}

const ENTRIES_PER_STEP = 2000n;
const LOGS_PER_STEP = 100;
const SAMPLE = 10;
