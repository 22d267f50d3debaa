import { create } from '@bufbuild/protobuf';
import type { FilterQuery } from '@mikro-orm/core';
import {
  type ControllerFilter,
  ControllerSchema,
  type Controller as Message,
  type Operation,
  type Purpose,
  type Type,
} from '../gen/backup/v1/controller_pb.ts';
import type { TailFilter } from '../gen/backup/v1/log_pb.ts';
import type { TimeWindow } from '../gen/backup/v1/window_pb.ts';
import type { RunFilter } from '../log/head.ts';
import { ceilSeconds, fromMillis, fromSeconds } from '../timestamps.ts';
import { etagOf } from './change.ts';
import { type Controller, types } from './entity.ts';
import { operations, type Status } from './lifecycle.ts';
import type { Shown } from './row.ts';

/** A controller as it is shown, whichever service shows it. */
export function toMessage(controller: Shown): Message {
  const [executionTime, cancelRequestTime, startTime, endTime] = [
    controller.executionTime,
    controller.cancelRequestedAt,
    controller.startedAt,
    controller.endedAt,
  ].map(fromSeconds);
  return create(ControllerSchema, {
    id: controller.id,
    backupId: controller.backupId,
    operation: (operations.indexOf(controller.operation) + 1) as Operation,
    type: types.indexOf(controller.type) as Type,
    itemId: controller.itemId,
    format: controller.format,
    interactive: controller.interactive === 1,
    purpose: controller.purpose as Purpose,
    userId: controller.userId,
    status: controller.status,
    execution: controller.execution,
    ...(executionTime && { executionTime }),
    checksum: controller.checksum,
    progress: Number(controller.progress),
    createTime: { seconds: controller.createdAt },
    updateTime: { seconds: controller.updatedAt },
    etag: etagOf(controller),
    exclusive: controller.exclusive,
    maxAttempts: controller.maxAttempts,
    attempt: controller.attempt,
    lostAttempts: controller.lostAttempts,
    ...(controller.leaseToken && {
      lease: {
        worker: controller.leaseWorker,
        acquireTime: fromMillis(controller.leasedAt),
        expireTime: fromMillis(controller.leaseExpires),
      },
    }),
    ...(cancelRequestTime && { cancelRequestTime }),
    outcome: controller.outcome,
    ...(startTime && { startTime }),
    ...(endTime && { endTime }),
  });
}

/** What a filter asks of a controller. */
export function conditions(filter: ControllerFilter | undefined): FilterQuery<Controller> {
  if (!filter) return {};
  return {
    ...(filter.operation && { operation: operations[filter.operation - 1]! }),
    ...(filter.type && { type: types[filter.type]! }),
    ...(filter.itemId !== undefined && { itemId: filter.itemId }),
    ...(filter.userId !== undefined && { userId: filter.userId }),
    ...(filter.statuses.length > 0 && { status: { $in: filter.statuses as Status[] } }),
    ...(filter.purposes.length > 0 && { purpose: { $in: filter.purposes } }),
    ...(filter.format && { format: filter.format }),
    ...(filter.execution && { execution: filter.execution as 1 | 2 }),
    ...within('createdAt', filter.created),
    ...within('updatedAt', filter.updated),
  };
}

/** The same in the terms of columns, for logs to be held against. */
export function toRunFilter({ operation, type, itemId, userId, purposes }: TailFilter): RunFilter {
  return {
    operation: operation ? operations[operation - 1] : undefined,
    type: type ? types[type] : undefined,
    itemId,
    userId,
    purposes: purposes.length > 0 ? purposes : undefined,
  };
}

function within(column: 'createdAt' | 'updatedAt', window: TimeWindow | undefined): object {
  const start = window?.start && ceilSeconds(window.start);
  const end = window?.end && ceilSeconds(window.end);
  if (start === undefined && end === undefined) return {};
  return { [column]: { ...(start !== undefined && { $gte: start }), ...(end !== undefined && { $lt: end }) } };
}
