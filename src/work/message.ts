import type { MessageInitShape } from '@bufbuild/protobuf';
import { types } from '../controller/entity.ts';
import { Outcome, operations, Status } from '../controller/lifecycle.ts';
import { toMessage } from '../controller/message.ts';
import { toGiven } from '../course/message.ts';
import { leaseLost, type StatusError } from '../errors.ts';
import type {
  ClaimControllersResponseSchema,
  ClaimFilter,
  ControllerFinish,
  FinishResultSchema,
  ProgressReport,
  ProgressResultSchema,
} from '../gen/backup/v1/controller_pb.ts';
import type { RefusalSchema } from '../gen/backup/v1/error_pb.ts';
import { Level } from '../log/level.ts';
import { type Keeping, keptEntries } from '../log/message.ts';
import { fromMillis } from '../timestamps.ts';
import type { Held, Wish } from './claim.ts';
import type { Report, Reported } from './report.ts';
import type { Settled, Settlement } from './settle.ts';

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
