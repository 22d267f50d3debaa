import { ErrorReason, preconditions, StatusError } from '../errors.ts';
import type { Controller } from './entity.ts';
import { describe, isFinished, nextStatuses, Outcome, type Run, Status, statusName } from './lifecycle.ts';
import type { Shown } from './row.ts';

/** Moves a run one step along its life cycle, if it still is in `from`; `now` must have been read with it. */
export function takeStep(controller: Controller, from: Status, to: Status): void {
  const { backupId, status } = controller;
  const run = kindOf(controller);
  if (status !== from) {
    throw new StatusError(
      ErrorReason.STATUS_CHANGED,
      `controller ${backupId} is ${statusName(status)}, not ${statusName(from)}`,
      {
        metadata: { status: statusName(status) },
      },
    );
  }
  if (!nextStatuses(run, status).includes(to)) throw illegal(run, status, to);
  controller.status = to;
  if (to === Status.EXECUTING) controller.startedAt = controller.now;
  if (isFinished(to)) {
    controller.outcome = to === Status.FINISHED_OK ? Outcome.SUCCEEDED : Outcome.FAILED;
    controller.endedAt = controller.now;
  }
}

/** What decides which steps a controller may take. */
export function kindOf({ operation, interactive }: Controller): Run {
  return { operation, interactive: interactive === 1 };
}

/** A step that the life cycle does not have; the details say which ones it has. */
export function illegal(run: Run, from: Status, to: Status): StatusError {
  const next = nextStatuses(run, from).map(statusName);
  return new StatusError(
    ErrorReason.ILLEGAL_TRANSITION,
    `${describe(run)} does not go from ${statusName(from)} to ${statusName(to)}; legal: ${next.join(', ') || 'none, it has finished'}`,
    {
      details: [
        preconditions(next.map(name => ({ type: 'NEXT_STATUS', subject: name, description: `may go to ${name}` }))),
      ],
    },
  );
}

export function refuseWhenFinished({ backupId, status }: Shown): void {
  if (!isFinished(status)) return;
  throw new StatusError(ErrorReason.CONTROLLER_FINISHED, `controller ${backupId} has finished: ${statusName(status)}`);
}
