import {
  CancelControllerRequestSchema,
  ClaimControllersRequestSchema,
  ClaimFilterSchema,
  ControllerFinishSchema,
  FinishControllersRequestSchema,
  Outcome,
  ProgressReportSchema,
  ReleaseControllerRequestSchema,
  ReportProgressRequestSchema,
  RetryControllerRequestSchema,
} from '../../../../src/gen/backup/v1/controller_pb.ts';
import { LogLevel } from '../../../../src/gen/backup/v1/entry_pb.ts';
import { table } from '../../../support/rules.ts';
import { backupId, duration, etag, hex, leaseToken, requestId, text, time } from '../edges.ts';
import { format, operation, progress, purposes, type, upTo } from './values.ts';

const held = { backupId: hex(1), leaseToken: '01234567-89ab-4def-8123-456789abcdef' };
const succeeded = { ...held, outcome: Outcome.SUCCEEDED };
const failed = { ...held, outcome: Outcome.FAILED, reason: 'the disk is full' };
const lines = (count: number) => Array(count).fill({ level: LogLevel.INFO });
const name = text('worker', 100);
const anything = text('reason', 1000);

/** A list of 1 to 1000; that none is named twice is not a rule, but the handler's to refuse. */
const batch = (path: string, item: object, bad: Record<string, object[]>) => {
  const of = (...ids: number[]) => ids.map(id => ({ ...item, backupId: hex(id) }));
  return {
    accepts: [of(1), of(2, 1), of(...upTo(999))],
    refuses: {
      [path]: [[], of(...upTo(1000)), of(...upTo(9999)), Array(1001).fill(item)],
      ...Object.fromEntries(Object.entries(bad).map(([at, items]) => [at, items.map(one => [item, one])])),
    },
  };
};
// With items that break a rule of their own: a request of many must not be let pass for those that do not.
const reports = batch('reports', held, {
  'reports[1].backup_id': [{ ...held, backupId: 'x' }],
  'reports[1].lease_token': [{ ...held, leaseToken: '' }],
  'reports[1].progress': [-0.1, 1.1, Number.NaN, Number.POSITIVE_INFINITY].map(value => ({ ...held, progress: value })),
});
const finishes = batch('finishes', succeeded, {
  'finishes[1].backup_id': [{ ...succeeded, backupId: hex(1).toUpperCase().replace('1', 'A') }],
  'finishes[1].lease_token': [{ ...succeeded, leaseToken: '0' }],
  'finishes[1].outcome': [0, 4, 6].map(value => ({ ...held, outcome: value })),
  'finishes[1].reason': [{ ...failed, reason: 'NUL \0' }],
  'finishes[1]': [{ ...succeeded, reason: 'none is needed' }],
  'finishes[1].entries': [{ ...succeeded, entries: lines(101) }],
  'finishes[1].entries[0].level': [{ ...succeeded, entries: [{}] }],
});

/** Of the messages of a worker, and of those who meddle with its work. */
export const work = [
  table(ClaimFilterSchema, {}, { operation: operation(0), type, purposes, format }),
  table(
    ClaimControllersRequestSchema,
    { worker: 'worker-1' },
    {
      worker: { accepts: name.accepts, refuses: { worker: ['', ...name.refuses['worker']!] } },
      maxControllers: { accepts: [0, 1, 1000], refuses: { max_controllers: [-1, 1001, -(2 ** 31), 2 ** 31 - 1] } },
      leaseDuration: duration('lease_duration', 1n, 86_400n),
      wait: duration('wait', 0n, 300n),
      requestId,
    },
  ),
  table(ProgressReportSchema, held, {
    backupId,
    leaseToken,
    progress: { ...progress, accepts: [undefined, ...progress.accepts] },
  }),
  table(ReportProgressRequestSchema, { reports: [held] }, { reports, requestId }),
  table(ControllerFinishSchema, succeeded, {
    backupId,
    leaseToken,
    outcome: { accepts: [1, 2], refuses: { outcome: [0, 4, 5, 6, -1, 2 ** 31 - 1] } },
    entries: { accepts: [[], lines(100)], refuses: { entries: [lines(101)] } },
    whole: {
      accepts: [failed, { outcome: 2 }],
      refuses: { reason: [{ outcome: 3 }, { outcome: 1, reason: 'why' }, { outcome: 2, reason: 'why' }] },
    },
  }),
  table(ControllerFinishSchema, failed, { reason: text('reason', 10_000) }),
  table(FinishControllersRequestSchema, { finishes: [succeeded] }, { finishes, requestId }),
  table(ReleaseControllerRequestSchema, held, {
    backupId,
    leaseToken,
    executionTime: time('execution_time', 1n),
    requestId,
  }),
  table(
    CancelControllerRequestSchema,
    { backupId: hex(1) },
    { backupId, reason: { ...anything, accepts: ['', ...anything.accepts] }, etag, requestId },
  ),
  table(
    RetryControllerRequestSchema,
    { backupId: hex(1) },
    { backupId, executionTime: time('execution_time', 1n), etag, requestId },
  ),
];
