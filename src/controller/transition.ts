import { ErrorReason, preconditions, StatusError } from '../errors.ts';
import type { Controller } from './entity.ts';
import { describe, isFinished, nextStatuses, type Status, statusName } from './lifecycle.ts';

/** Moves a run one step along its life cycle, if it still is in `from`. */
export function takeStep(controller: Controller, from: Status, to: Status): void {
  const { backupId, status } = controller;
  const run = { operation: controller.operation, interactive: controller.interactive === 1 };
  if (status !== from) {
    throw new StatusError(
      ErrorReason.STATUS_CHANGED,
      `controller ${backupId} is ${statusName(status)}, not ${statusName(from)}`,
      {
        metadata: { status: statusName(status) },
      },
    );
  }
  const legal = nextStatuses(run, status);
  if (!legal.includes(to)) {
    const next = legal.map(statusName);
    throw new StatusError(
      ErrorReason.ILLEGAL_TRANSITION,
      `${describe(run)} does not go from ${statusName(from)} to ${statusName(to)}; legal: ${next.join(', ') || 'none, it has finished'}`,
      {
        details: [
          preconditions(next.map(name => ({ type: 'NEXT_STATUS', subject: name, description: `may go to ${name}` }))),
        ],
      },
    );
  }
  controller.status = to;
}

export function refuseWhenFinished({ backupId, status }: Controller): void {
  if (!isFinished(status)) return;
  throw new StatusError(ErrorReason.CONTROLLER_FINISHED, `controller ${backupId} has finished: ${statusName(status)}`);
}
