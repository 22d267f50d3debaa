import { setTimeout as delay } from 'node:timers/promises';
import type { Logger } from 'pino';
import { Status } from '../controller/lifecycle.ts';
import type { Doorbell } from '../db/doorbell.ts';
import { sqlOn } from '../db/sql.ts';
import { isOutage } from '../errors.ts';
import { periodic } from '../periodic.ts';
import type { Logs } from '../segment/archive.ts';
import { type PurgedLogs, purgeLogs, wouldPurgeLogs } from './logs.ts';
import type { LogRule } from './oldest.ts';
import { type Purged, purge, type Rule, wouldPurge } from './purge.ts';

type Needs = Logs & { doorbell: Doorbell; log: Logger };

export type Retention = {
  /**
   * Seconds after which a controller of any status goes, if nothing has changed it, and an entry that has no controller; undefined keeps all.
   */
  unchanged: number | undefined;
  /** The same for those that wait in SETTING_UI for a person who may have walked away. */
  settingUi: number | undefined;
  /** Seconds after which an entry goes, whatever its log. */
  logs: number | undefined;
  /** Only says what it would delete. */
  dryRun: boolean;
  intervalMs: number;
};

/**
 * Deletes now and again what the settings say is too old. Every replica does: what one is deleting, the others pass over, so that they share
 * the work, and whoever finds nothing left stops until the next round.
 */
export function retain(
  needs: Needs,
  { unchanged, settingUi, logs, dryRun, intervalMs }: Retention,
): AsyncDisposable & Rounds {
  const tasks: Task[] = [];
  if (unchanged !== undefined) {
    tasks.push(controllersTask(needs, { olderThan: BigInt(unchanged), statuses: Object.values(Status) }));
    tasks.push(logsTask(needs, { olderThan: BigInt(unchanged), orphans: true }));
  }
  if (settingUi !== undefined) {
    tasks.push(controllersTask(needs, { olderThan: BigInt(settingUi), statuses: [Status.SETTING_UI] }));
  }
  if (logs !== undefined) tasks.push(logsTask(needs, { olderThan: BigInt(logs) }));
  const rounds: Rounds = {
    intervalMs: tasks.length > 0 ? intervalMs : undefined,
    lastRound: Date.now(),
    deleted: { controllers: 0, logEntries: 0 },
  };
  let first = true;
  const running = periodic(intervalMs, async signal => {
    // Apart from the other replicas, which may have started together with this one.
    if (first) await delay(firstRound(intervalMs), undefined, { signal }).catch(() => {});
    first = false;
    let failed = false;
    for (const task of tasks) {
      const doing = dryRun ? announce(needs.log, task, signal) : apply(needs.log, task, signal, rounds.deleted);
      await doing.catch((error: unknown) => {
        failed = true;
        // A database that is away is not worth a word: the next round will find it.
        if (!signal.aborted && !isOutage(error)) needs.log.warn({ err: error }, 'retention');
      });
    }
    if (!failed && !signal.aborted) rounds.lastRound = Date.now();
  });
  return Object.assign(rounds, running);
}

/** What the rounds of this replica have done. */
export type Rounds = {
  /** Undefined when there is nothing to do. */
  readonly intervalMs: number | undefined;
  /** When the last one ended in which nothing failed, or the first one was waited for; by this replica's clock, in epoch milliseconds. */
  lastRound: number;
  readonly deleted: { controllers: number; logEntries: number };
};

/** What is deleted by one rule, counted by what it is. */
type Task = {
  rule: object;
  purge(signal: AbortSignal): Promise<Counted>;
  wouldPurge(signal: AbortSignal): Promise<Counted>;
};

type Counted = { counts: Record<string, number>; more: boolean; sampleBackupIds: string[] };

function controllersTask({ pool, doorbell }: Needs, rule: Rule): Task {
  const counted = ({ controllers, logEntries, ...rest }: Purged): Counted => ({
    counts: { controllers, logEntries: Number(logEntries) },
    ...rest,
  });
  return {
    rule: { olderThanSeconds: Number(rule.olderThan), statuses: rule.statuses },
    purge: async signal => counted(await purge({ pool, doorbell }, rule, { max: PER_ROUND, signal })),
    wouldPurge: async () => counted(await wouldPurge(sqlOn(pool), rule, PER_ROUND)),
  };
}

function logsTask(needs: Needs, rule: LogRule): Task {
  const counted = ({ logs, entries, ...rest }: PurgedLogs): Counted => ({
    counts: { logs, logEntries: Number(entries) },
    ...rest,
  });
  const limits = (signal: AbortSignal) => ({ max: ENTRIES_PER_ROUND, signal });
  return {
    rule: { olderThanSeconds: Number(rule.olderThan), orphans: rule.orphans },
    purge: async signal => counted(await purgeLogs(needs, rule, limits(signal))),
    wouldPurge: async signal => counted(await wouldPurgeLogs(needs, rule, limits(signal))),
  };
}

async function apply(log: Logger, task: Task, signal: AbortSignal, deleted: Rounds['deleted']): Promise<void> {
  const total: Record<string, number> = {};
  for (let more = true; more && !signal.aborted; ) {
    const round = await task.purge(signal);
    for (const [what, count] of Object.entries(round.counts)) total[what] = (total[what] ?? 0) + count;
    deleted.controllers += round.counts['controllers'] ?? 0;
    deleted.logEntries += round.counts['logEntries'] ?? 0;
    more = round.more && hasAny(round.counts);
  }
  if (hasAny(total)) log.info({ ...task.rule, ...total }, 'retention has deleted');
}

async function announce(log: Logger, task: Task, signal: AbortSignal): Promise<void> {
  if (signal.aborted) return;
  const { counts, ...rest } = await task.wouldPurge(signal);
  if (hasAny(counts)) log.info({ ...task.rule, ...counts, ...rest }, 'retention would delete');
}

function hasAny(counts: Record<string, number>): boolean {
  return Object.values(counts).some(count => count > 0);
}

// Half a minute to one and a half.
const firstRound = (intervalMs: number) => Math.min(intervalMs, 60_000) * (0.5 + Math.random());

const PER_ROUND = 10_000;
const ENTRIES_PER_ROUND = 1_000_000;
