import {
  FinishControllersRequestSchema,
  file_backup_v1_controller,
  Outcome,
  ReportProgressRequestSchema,
  SummarizeControllersRequestSchema,
  UploadPayloadRequestSchema,
  WatchControllersRequestSchema,
} from '../../../src/gen/backup/v1/controller_pb.ts';
import { LogLevel } from '../../../src/gen/backup/v1/entry_pb.ts';
import { describeRules, refuses } from '../../support/rules.ts';
import { books } from './controller/books.ts';
import { stock } from './controller/stock.ts';
import { update } from './controller/update.ts';
import { work } from './controller/work.ts';
import { badNanos, hex } from './edges.ts';

describeRules(file_backup_v1_controller, [...books, ...update, ...work, ...stock]);

describe('The rules of work in requests', () => {
  const leaseToken = '01234567-89ab-4def-8123-456789abcdef';

  it('name the whole path of a report', () => {
    const request = (report: object) => ({
      reports: [
        { backupId: hex(1), leaseToken },
        { backupId: hex(2), leaseToken, ...report },
      ],
    });
    refuses(ReportProgressRequestSchema, request({ backupId: '' }), 'reports[1].backup_id');
    refuses(ReportProgressRequestSchema, request({ leaseToken: '' }), 'reports[1].lease_token');
    refuses(ReportProgressRequestSchema, request({ progress: NaN }), 'reports[1].progress');
  });

  it('name the whole path of a finish and of its entries', () => {
    const request = (finish: object) => ({
      finishes: [
        { backupId: hex(1), leaseToken, outcome: Outcome.SUCCEEDED },
        { backupId: hex(2), leaseToken, outcome: Outcome.SUCCEEDED, ...finish },
      ],
    });
    const entry = (entry: object) => request({ entries: [{ level: LogLevel.INFO, ...entry }] });
    refuses(FinishControllersRequestSchema, request({ outcome: Outcome.LOST }), 'finishes[1].outcome');
    refuses(FinishControllersRequestSchema, request({ outcome: Outcome.FAILED }), 'finishes[1]');
    refuses(FinishControllersRequestSchema, entry({ level: LogLevel.NONE }), 'finishes[1].entries[0].level');
    refuses(FinishControllersRequestSchema, entry({ message: '\0' }), 'finishes[1].entries[0].message');
    refuses(
      FinishControllersRequestSchema,
      entry({ createTime: badNanos(5n)[0]! }),
      'finishes[1].entries[0].create_time',
    );
  });

  it('name the whole path of a part and of a filter', () => {
    const part = { case: 'start', value: { backupId: hex(1), leaseToken: 'x' } };
    refuses(UploadPayloadRequestSchema, { part }, 'start.lease_token');
    refuses(WatchControllersRequestSchema, { filter: { itemId: -1n } }, 'filter.item_id');
    refuses(SummarizeControllersRequestSchema, { filter: { purposes: [0] } }, 'filter.purposes[0]');
    const window = { start: { seconds: 5n }, end: { seconds: 5n } };
    refuses(SummarizeControllersRequestSchema, { window }, 'window');
  });
});
