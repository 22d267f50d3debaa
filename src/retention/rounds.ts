import { setTimeout as delay } from 'node:timers/promises';
import type { Pool } from 'pg';
import type { Logger } from 'pino';
import { Status } from '../controller/lifecycle.ts';
import type { Doorbell } from '../db/doorbell.ts';
import { sqlOn } from '../db/sql.ts';
import { isOutage } from '../errors.ts';
import { periodic } from '../periodic.ts';
import { type Purged, purge, type Rule, wouldPurge } from './purge.ts';

type Needs = { pool: Pool; doorbell: Doorbell; log: Logger };

export type Retention = {
  /** Seconds after which a controller of any status goes, if nothing has changed it; undefined keeps all. */
  unchanged: number | undefined;
  /** The same for those that wait in SETTING_UI for a person who may have walked away. */
  settingUi: number | undefined;
  /** Only says what it would delete. */
  dryRun: boolean;
  intervalMs: number;
};

/**
 * Deletes now and again what the settings say is too old. Every replica does: what one is deleting, the others pass over, so that they share
 * the work, and whoever finds nothing left stops until the next round.
 */
export function retain(needs: Needs, { unchanged, settingUi, dryRun, intervalMs }: Retention): AsyncDisposable {
  const rules: Rule[] = [];
  if (unchanged !== undefined) rules.push({ olderThan: BigInt(unchanged), statuses: Object.values(Status) });
  if (settingUi !== undefined) rules.push({ olderThan: BigInt(settingUi), statuses: [Status.SETTING_UI] });
  let first = true;
  return periodic(intervalMs, async signal => {
    // Apart from the other replicas, which may have started together with this one.
    if (first) await delay(firstRound(intervalMs), undefined, { signal }).catch(() => {});
    first = false;
    for (const rule of rules) {
      await (dryRun ? announce(needs, rule, signal) : apply(needs, rule, signal)).catch((error: unknown) => {
        // A database that is away is not worth a word: the next round will find it.
        if (!signal.aborted && !isOutage(error)) needs.log.warn({ err: error }, 'retention');
      });
    }
  });
}

async function apply(needs: Needs, rule: Rule, signal: AbortSignal): Promise<void> {
  let [controllers, logEntries] = [0, 0n];
  for (let round: Purged | undefined; !signal.aborted && (!round || (round.more && round.controllers > 0)); ) {
    round = await purge(needs, rule, { max: PER_ROUND, signal });
    controllers += round.controllers;
    logEntries += round.logEntries;
  }
  if (controllers > 0) needs.log.info(told(rule, { controllers, logEntries }), 'retention has deleted');
}

async function announce({ pool, log }: Needs, rule: Rule, signal: AbortSignal): Promise<void> {
  if (signal.aborted) return;
  const { more, sampleBackupIds, ...counts } = await wouldPurge(sqlOn(pool), rule, PER_ROUND);
  if (counts.controllers > 0) log.info({ ...told(rule, counts), more, sampleBackupIds }, 'retention would delete');
}

function told({ olderThan, statuses }: Rule, counts: { controllers: number; logEntries: bigint }): object {
  const { controllers, logEntries } = counts;
  return { olderThanSeconds: Number(olderThan), statuses, controllers, logEntries: Number(logEntries) };
}

// Half a minute to one and a half.
const firstRound = (intervalMs: number) => Math.min(intervalMs, 60_000) * (0.5 + Math.random());

const PER_ROUND = 10_000;
