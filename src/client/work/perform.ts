import type { MessageInitShape } from '@bufbuild/protobuf';
import { type ControllerFinishSchema, Outcome } from '../../gen/backup/v1/controller_pb.ts';
import { ErrorReason } from '../../gen/backup/v1/error_pb.ts';
import type { NextStartSchema } from '../../gen/backup/v1/schedule_pb.ts';
import { RpcError } from '../error.ts';
import { legible } from '../ingest/legible.ts';
import type { Services } from './claims.ts';
import type { Run } from './run.ts';
import { Draining, LeaseLost } from './stops.ts';
import { unlessAborted } from './unless-aborted.ts';

/** What a handler may say at the end of a run that has succeeded. */
export type Success = {
  /** Its log has something to read. */
  warnings?: boolean;
  /** Of the run of a course: when the course starts next. */
  nextStart?: MessageInitShape<typeof NextStartSchema>;
};

export type Handler = (run: Run) => Promise<Success | undefined> | Promise<void>;

/** What became of a run: how it was finished, or that it went back into the queue, is somebody else's now, or that the service could not be told. */
export type RunEnd = { result: Outcome | 'RELEASED' | 'LOST' | 'UNTOLD'; error?: unknown };

/** Where a run that is worked on can be broken off from: its lease is lost, or nobody waits for its handler any more. */
export type Breaks = { lost: AbortSignal; abandoned: AbortSignal };

/** Works a run and tells the service how it has ended. Never fails. */
export async function perform(
  { controllers }: Services,
  run: Run,
  handler: Handler,
  { lost, abandoned }: Breaks,
  patienceMs: number,
): Promise<RunEnd> {
  const lease = { backupId: run.backupId, leaseToken: run.leaseToken };
  // Only the answer says whether the lease was lost: a report that the end has overtaken is told so, too.
  const options = { timeoutMs: patienceMs };
  const handled = await settled(run, handler, abandoned);
  await run.log.close().catch((error: unknown) => {
    if (!handled.error) handled.error = { thrown: error };
  });
  const error = handled.error?.thrown;
  try {
    if (lost.aborted || isLost(error)) return { result: 'LOST', error };
    if (handled.error && run.signal.reason instanceof Draining) {
      await controllers.releaseController(lease, options);
      return { result: 'RELEASED', error };
    }
    const finish = { ...lease, ...(handled.error ? failed(error) : succeeded(handled.success)) };
    const { results } = await controllers.finishControllers({ finishes: [finish] }, options);
    const { outcome, error: refusal } = results[0]!;
    if (refusal?.reason === ErrorReason.LEASE_LOST) return { result: 'LOST', error: new LeaseLost(refusal.message) };
    return { result: outcome, ...(handled.error && { error }) };
  } catch (untold) {
    if (isLost(untold)) return { result: 'LOST', error: untold };
    return { result: 'UNTOLD', error: untold };
  }
}

type Handled = { success?: Success; error?: { thrown: unknown } };

async function settled(run: Run, handler: Handler, abandoned: AbortSignal): Promise<Handled> {
  try {
    const success = (await unlessAborted(handler(run) as Promise<Success | undefined>, abandoned)) ?? {};
    return abandoned.aborted ? { error: { thrown: abandoned.reason } } : { success };
  } catch (thrown) {
    return { error: { thrown } };
  }
}

function isLost(error: unknown): boolean {
  return error instanceof LeaseLost || (error instanceof RpcError && error.reason === 'LEASE_LOST');
}

type Finish = Pick<MessageInitShape<typeof ControllerFinishSchema>, 'outcome' | 'reason' | 'nextStart'>;

function succeeded({ warnings = false, nextStart }: Success = {}): Finish {
  const outcome = warnings ? Outcome.SUCCEEDED_WITH_WARNINGS : Outcome.SUCCEEDED;
  return { outcome, ...(nextStart && { nextStart }) };
}

function failed(error: unknown): Finish {
  const message = error instanceof Error ? error.message : String(error);
  return { outcome: Outcome.FAILED, reason: legible(message.slice(0, LONGEST_REASON)) || 'failed' };
}

/** Characters. */
const LONGEST_REASON = 10_000;
