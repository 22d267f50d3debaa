import { setTimeout as delay } from 'node:timers/promises';
import type { Pool } from 'pg';
import type { Logger } from 'pino';
import { sqlOn } from '../db/sql.ts';
import { isOutage } from '../errors.ts';
import { periodic } from '../periodic.ts';
import { isMovable, type MoveRule, moveSegment } from './move.ts';
import { removeObjects } from './removal.ts';
import type { Store } from './store.ts';

type Needs = { pool: Pool; store: Store; log: Logger };

/** What the rounds of this replica have done. */
export type SegmentRounds = {
  /** Undefined when there is no store. */
  readonly intervalMs: number | undefined;
  /** When the last one ended in which nothing failed, or the first one was waited for; by this replica's clock, in epoch milliseconds. */
  lastRound: number;
  readonly moved: { segments: number; entries: number; bytes: number };
  removed: number;
  failed: number;
};

/**
 * Moves what the rule says into segments, and removes objects that are needed no more, now and again. Every replica does: each begins at another log,
 * and whoever finds that somebody is at a log goes on to the next one. So they share the work, and there is no leader to lose.
 */
export function moveOldLogs(
  needs: Needs | undefined,
  rule: MoveRule | undefined,
  intervalMs: number,
): AsyncDisposable & SegmentRounds {
  const rounds: SegmentRounds = {
    intervalMs: needs && intervalMs,
    lastRound: Date.now(),
    moved: { segments: 0, entries: 0, bytes: 0 },
    removed: 0,
    failed: 0,
  };
  if (!needs) return Object.assign(rounds, { async [Symbol.asyncDispose]() {} });
  let first = true;
  const running = periodic(intervalMs, async signal => {
    // Apart from the other replicas, which may have started together with this one.
    if (first) await delay(firstRound(intervalMs), undefined, { signal }).catch(() => {});
    first = false;
    const failedBefore = rounds.failed;
    try {
      if (rule) await moveAll(needs, rule, rounds, signal);
      if (!signal.aborted) rounds.removed += await removeObjects(sqlOn(needs.pool), needs.store, signal);
    } catch (error) {
      failed(needs.log, rounds, error, signal);
    }
    if (rounds.failed === failedBefore && !signal.aborted) rounds.lastRound = Date.now();
  });
  return Object.assign(rounds, running);
}

async function moveAll(needs: Needs, rule: MoveRule, rounds: SegmentRounds, signal: AbortSignal): Promise<void> {
  const before = { ...rounds.moved };
  for await (const backupIds of oldLogs(needs.pool, rule, signal)) {
    const one = async () => {
      for (let backupId = backupIds.pop(); backupId && !signal.aborted; backupId = backupIds.pop()) {
        await moveLog(needs, backupId, rule, rounds, signal);
      }
    };
    await Promise.all(Array.from({ length: LOGS_AT_ONCE }, one));
  }
  const segments = rounds.moved.segments - before.segments;
  if (segments > 0)
    needs.log.info({ segments, entries: rounds.moved.entries - before.entries }, 'moved old log entries');
}

async function moveLog(
  { pool, store, log }: Needs,
  backupId: string,
  rule: MoveRule,
  rounds: SegmentRounds,
  signal: AbortSignal,
): Promise<void> {
  try {
    while (!signal.aborted) {
      const moved = await moveSegment({ pool, store, signal }, backupId, rule);
      if (!moved) return;
      rounds.moved.segments++;
      rounds.moved.entries += moved.entries;
      rounds.moved.bytes += moved.bytes;
    }
  } catch (error) {
    // Without the store or the database there is nothing to do for others either.
    if (isOutage(error)) throw error;
    failed(log, rounds, error, signal, backupId);
  }
}

function failed(log: Logger, rounds: SegmentRounds, error: unknown, signal: AbortSignal, backupId?: string): void {
  if (signal.aborted) return;
  rounds.failed++;
  log.warn({ err: (error as Error).cause ?? error, backupId }, 'old log entries could not be moved');
}

/** Logs that have entries to move, those that have been silent for the longest time first, so many at a time, shuffled. */
async function* oldLogs(pool: Pool, { after }: MoveRule, signal: AbortSignal): AsyncGenerator<string[]> {
  for (let [minute, last] = ['-1', '']; !signal.aborted; ) {
    // By the index of `activeminute`; what was moved before is passed over.
    const { rows } = await pool.query(
      `select h.backupid, h.activeminute from backup_log_heads h
       where h.activeminute >= $2 and (h.activeminute, h.backupid) > ($2::bigint, $3::varchar) and ${isMovable('$1')}
       order by h.activeminute, h.backupid limit ${LOGS_AT_A_TIME}`,
      [after, minute, last],
    );
    if (rows.length === 0) return;
    ({ activeminute: minute, backupid: last } = rows.at(-1));
    yield rows.map(row => row.backupid as string).sort(() => Math.random() - 0.5);
  }
}

// Half a minute to one and a half.
const firstRound = (intervalMs: number) => Math.min(intervalMs, 60_000) * (0.5 + Math.random());

/** So that the next one is read while one is being written: a segment is in memory three times. */
const LOGS_AT_ONCE = 3;

const LOGS_AT_A_TIME = 1000;
