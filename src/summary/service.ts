import type { MikroORM } from '@mikro-orm/postgresql';
import { operations, Status } from '../controller/lifecycle.ts';
import { conditions } from '../controller/message.ts';
import type { ControllerService, Operation, Purpose } from '../gen/backup/v1/controller_pb.ts';
import type { TimeWindow } from '../gen/backup/v1/window_pb.ts';
import type { Handlers } from '../grpc/bind.ts';
import { ascending, ceilSeconds, fromSeconds } from '../timestamps.ts';
import { type Group, summarize, type Window } from './summary.ts';

export function summaryService(orm: MikroORM): Pick<Handlers<typeof ControllerService>, 'summarizeControllers'> {
  return {
    async summarizeControllers({ filter, window }) {
      const { groups, durations } = await summarize(orm, conditions(filter), window && windowOf(window));
      const count = (which: (group: Group) => boolean) => sum(groups.filter(which), 'count');
      const purposes = [...new Set(groups.map(group => group.purpose))].sort((a, b) => a - b);
      const oldestDueTime = fromSeconds(ascending(groups.map(group => group.oldestDue)).at(0) ?? 0n);
      const lastSuccessTime = fromSeconds(ascending(groups.map(group => group.lastSuccess)).at(-1) ?? 0n);
      const [p50, p95] = durations.percentiles.map(seconds => ({ seconds }));
      return {
        total: sum(groups, 'count'),
        statuses: Object.values(Status).map(status => ({ status, count: count(group => group.status === status) })),
        operations: operations.map((operation, i) => ({
          operation: (i + 1) as Operation,
          count: count(group => group.operation === operation),
        })),
        purposes: purposes.map(purpose => ({
          purpose: purpose as Purpose,
          count: count(group => group.purpose === purpose),
        })),
        queueDepth: sum(groups, 'due'),
        ...(oldestDueTime && { oldestDueTime }),
        running: count(group => group.status === Status.EXECUTING),
        leased: sum(groups, 'leased'),
        expiredLeases: sum(groups, 'expired'),
        ...(lastSuccessTime && { lastSuccessTime }),
        durations: { count: durations.count, ...(p50 && { p50 }), ...(p95 && { p95 }) },
      };
    },
  };
}

/** Ends are whole seconds in the columns, and so are the bounds that mean the same. */
function windowOf({ start, end }: TimeWindow): Window {
  return { start: start && ceilSeconds(start), end: end && ceilSeconds(end) };
}

function sum(groups: Group[], column: 'count' | 'due' | 'leased' | 'expired'): bigint {
  return groups.reduce((total, group) => total + group[column], 0n);
}
