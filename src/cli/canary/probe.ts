import { randomBytes, randomUUID } from 'node:crypto';
import { setTimeout as delay } from 'node:timers/promises';
import { follow } from './follow.ts';
import { Ledger, type Limits } from './ledger.ts';
import type { Replica } from './replica.ts';
import { lastIdOf, removeLog, writeAll } from './write.ts';

export type Plan = {
  /** Entries in a second. */
  rate: number;
  limits: Limits;
  /** Writes to this log and no other; else to new ones, one after another. */
  backupId?: string;
  rotateMs: number;
  tell(line: string): void;
};

/**
 * Writes until `signal` is aborted, waits until all that was acknowledged has come through every replica, `missingAfterMs` at most, and leaves
 * the result in their tallies. Makes no controller, so no worker and no course ever hears of it, and removes the logs that it has made.
 */
export async function probe(replicas: Replica[], plan: Plan, signal: AbortSignal): Promise<void> {
  const { missingAfterMs } = plan.limits;
  const run = randomUUID().slice(0, 8);
  const afterId = plan.backupId ? await lastIdOf(plan.backupId, replicas, plan.tell, signal) : 0n;
  if (afterId === undefined) return;
  const open = new Set<Log>();
  const begin = (backupId: string, after: bigint): Log => {
    const log = openLog(replicas, { run, backupId, afterId: after }, plan);
    open.add(log);
    return log;
  };
  let current = begin(plan.backupId ?? newBackupId(), afterId);
  const target = () => {
    const old = performance.now() - current.since >= plan.rotateMs;
    if (old && !plan.backupId) current = begin(newBackupId(), 0n);
    return current;
  };
  const close = async ({ backupId, stop, tails }: Log) => {
    stop.abort();
    await Promise.all(tails);
    if (!plan.backupId) await removeLog(backupId, replicas, plan.tell);
  };
  const judge = () => {
    for (const log of open) {
      log.ledger.judge(performance.now());
      // Whatever could still be doubled or late in it has had its time.
      if (log === current || log.ledger.size > 0) continue;
      open.delete(log);
      void close(log);
    }
  };
  const judging = setInterval(judge, JUDGE_MS);
  try {
    await writeAll(replicas, { run, rate: plan.rate, target, tell: plan.tell }, signal);
    const end = performance.now() + missingAfterMs;
    while (performance.now() < end && [...open].some(({ ledger }) => ledger.owed)) await delay(JUDGE_MS);
    for (const { ledger } of open) ledger.judge(performance.now(), true);
  } finally {
    clearInterval(judging);
    await Promise.all([...open].map(close));
  }
}

type Log = { backupId: string; since: number; ledger: Ledger; stop: AbortController; tails: Promise<void>[] };

function openLog(
  replicas: Replica[],
  { run, backupId, afterId }: { run: string; backupId: string; afterId: bigint },
  { limits, tell }: Plan,
): Log {
  const ledger = new Ledger(
    replicas.map(({ tally }) => tally),
    afterId,
    limits,
  );
  const stop = new AbortController();
  const tails = replicas.map((replica, i) =>
    follow(replica, { backupId, afterId, ledger, reader: ledger.readers[i]!, run, tell }, stop.signal),
  );
  return { backupId, since: performance.now(), ledger, stop, tails };
}

/** Ids of such logs begin with `ca9a`, so that those of a canary that was killed can be told from those of runs. */
function newBackupId(): string {
  return `ca9a${randomBytes(14).toString('hex')}`;
}

/** Milliseconds. */
const JUDGE_MS = 100;
