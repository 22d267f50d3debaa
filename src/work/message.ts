import type { MessageInitShape } from '@bufbuild/protobuf';
import { types } from '../controller/entity.ts';
import { Outcome, operations, Status } from '../controller/lifecycle.ts';
import { toMessage } from '../controller/message.ts';
import { toGiven } from '../course/message.ts';
import { leaseLost, type StatusError } from '../errors.ts';
import {
  ClaimControllersRequestSchema,
  type ClaimControllersResponseSchema,
  type ClaimFilter,
  type ControllerFinish,
  FinishControllersRequestSchema,
  type FinishResultSchema,
  type ProgressReport,
  type ProgressResultSchema,
  ReportProgressRequestSchema,
} from '../gen/backup/v1/controller_pb.ts';
import type { RefusalSchema } from '../gen/backup/v1/error_pb.ts';
import { shortcut } from '../grpc/validate.ts';
import { isBackupId, isPlainUuid } from '../ids.ts';
import { Level } from '../log/level.ts';
import { type Keeping, keptEntries } from '../log/message.ts';
import { fromMillis } from '../timestamps.ts';
import type { Held, Wish } from './claim.ts';
import type { Report, Reported } from './report.ts';
import type { Settled, Settlement } from './settle.ts';

/** What workers say all the time, as they usually say it. */
export const workShortcuts = [
  shortcut(
    ClaimControllersRequestSchema,
    ({ worker, maxControllers, filter, leaseDuration, wait, requestId }) =>
      /^[\x20-\x7e]{1,100}$/.test(worker) &&
      maxControllers >= 0 &&
      maxControllers <= 1000 &&
      filter === undefined &&
      leaseDuration === undefined &&
      wait === undefined &&
      requestId === '',
  ),
  shortcut(
    ReportProgressRequestSchema,
    ({ reports, requestId }) =>
      isBatch(reports) &&
      requestId === '' &&
      // NaN is in no range.
      reports.every(one => isHeld(one) && (one.progress === undefined || (one.progress >= 0 && one.progress <= 1))),
  ),
  shortcut(
    FinishControllersRequestSchema,
    ({ finishes, requestId }) =>
      isBatch(finishes) &&
      requestId === '' &&
      finishes.every(
        one =>
          isHeld(one) &&
          (one.outcome === Outcome.SUCCEEDED || one.outcome === Outcome.SUCCEEDED_WITH_WARNINGS) &&
          one.reason === '' &&
          one.entries.length === 0 &&
          one.nextStart === undefined,
      ),
  ),
];

function isBatch(items: unknown[]): boolean {
  return items.length >= 1 && items.length <= 1000;
}

function isHeld({ backupId, leaseToken }: { backupId: string; leaseToken: string }): boolean {
  return isBackupId(backupId) && isPlainUuid(leaseToken);
}

export function toWish(filter: ClaimFilter | undefined): Wish {
  return {
    operation: filter?.operation ? operations[filter.operation - 1] : undefined,
    type: filter?.type ? types[filter.type] : undefined,
    purposes: filter?.purposes.length ? filter.purposes : undefined,
    format: filter?.format || undefined,
  };
}

export function toReport({ backupId, leaseToken, progress, reset }: ProgressReport): Report {
  return { backupId, token: leaseToken, progress: progress?.toFixed(14), reset };
}

/** `path` is where the finish stands in the request. */
export function toSettlement(finish: ControllerFinish, path: string, keeping: Keeping): Settlement {
  const { backupId, leaseToken, outcome, reason } = finish;
  const entries = keptEntries(finish.entries, keeping, `${path}.entries`);
  // Kept whatever the service is set to keep: without it nobody knows why the run failed.
  if (outcome === Outcome.FAILED) entries.push({ level: Level.ERROR, message: reason, at: undefined });
  const status = outcome === Outcome.FAILED ? Status.FINISHED_ERR : Status.FINISHED_OK;
  const given = toGiven(finish.nextStart, `${path}.next_start`);
  return { backupId, token: leaseToken, status, outcome: outcome as Settlement['outcome'], entries, given };
}

export function toClaimed(held: Held[]): MessageInitShape<typeof ClaimControllersResponseSchema> {
  return { claimed: held.map(run => ({ controller: toMessage(run), leaseToken: run.leaseToken })) };
}

function refusal({ reason, message }: StatusError): MessageInitShape<typeof RefusalSchema> {
  return { reason, message };
}

export function toProgressResult(backupId: string, reported: Reported): MessageInitShape<typeof ProgressResultSchema> {
  if (!reported) return { backupId, error: refusal(leaseLost(backupId)) };
  const { leaseExpires, cancelRequested, progress } = reported;
  return { backupId, leaseExpireTime: fromMillis(leaseExpires), cancelRequested, progress: Number(progress) };
}

export function toFinishResult(backupId: string, settled: Settled): MessageInitShape<typeof FinishResultSchema> {
  if (!settled) return { backupId, error: refusal(leaseLost(backupId)) };
  return { backupId, status: settled.status, outcome: settled.outcome, sealedId: settled.lastId };
}
