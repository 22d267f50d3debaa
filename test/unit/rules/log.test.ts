import { LogLevel } from '../../../src/gen/backup/v1/entry_pb.ts';
import {
  AppendLogsRequestSchema,
  file_backup_v1_log,
  IngestBatchSchema,
  IngestLogsRequestSchema,
  IngestStartSchema,
  ListLogsRequestSchema,
  PurgeLogsRequestSchema,
  SummarizeLogsRequestSchema,
  TailFilterSchema,
  TailLogsRequestSchema,
} from '../../../src/gen/backup/v1/log_pb.ts';
import { describeRules, refuses, table } from '../../support/rules.ts';
import { operation, purposes, type } from './controller/values.ts';
import {
  backupId,
  badHex,
  badNanos,
  duration,
  hex,
  int64From,
  optionalLeaseToken,
  pageSize,
  pageToken,
  requestId,
  time,
  writerId,
} from './edges.ts';

const age = duration('older_than', 1n, 3_155_760_000n); // a hundred years of 365.25 days
const upTo = (most: number) => [...Array(most).keys()].map(n => n + 1);
const lines = (count: number) => Array(count).fill({ level: LogLevel.INFO });
const NO_LEVEL = [10, 15, 60, -20, 2 ** 31 - 1];
const maxLevel = { accepts: [0, 20, 30, 40, 50], refuses: { max_level: NO_LEVEL } };

const part = (name: string, value: unknown) => ({ case: name, value });
const entries = { accepts: [lines(1), lines(1000)], refuses: { entries: [[], lines(1001)] } };

describeRules(file_backup_v1_log, [
  table(
    AppendLogsRequestSchema,
    { backupId: hex(1), entries: lines(1) },
    {
      backupId,
      entries,
      requestId,
      leaseToken: optionalLeaseToken,
    },
  ),
  table(
    IngestLogsRequestSchema,
    { request: { case: 'batch', value: { number: 1n, entries: lines(1) } } },
    {
      request: {
        accepts: [part('start', { backupId: hex(1), writerId: writerId.accepts[0]! })],
        refuses: {
          request: [undefined, { case: undefined }],
          'start.backup_id': [part('start', { writerId: writerId.accepts[0]! })],
          'batch.number': [part('batch', { entries: lines(1) })],
        },
      },
    },
  ),
  table(
    IngestStartSchema,
    { backupId: hex(1), writerId: writerId.accepts[0]! },
    { backupId, writerId, leaseToken: optionalLeaseToken },
  ),
  table(
    IngestBatchSchema,
    { number: 1n, entries: lines(1) },
    { number: { accepts: [1n, 2n ** 63n - 1n], refuses: { number: [0n, -1n, -(2n ** 63n)] } }, entries },
  ),
  table(
    ListLogsRequestSchema,
    { backupId: hex(1) },
    {
      backupId,
      maxLevel,
      text: {
        accepts: ['', 'x'.repeat(200), '😀'.repeat(200), '%_\\'],
        refuses: { text: ['x'.repeat(201), '😀'.repeat(201), 'a\0', '\0'] },
      },
      order: { accepts: [0, 1, 2], refuses: { order: [3, -1] } },
      pageSize,
      pageToken,
      whole: {
        accepts: [{ backupId: '', filter: {} }],
        refuses: { backup_id: [{ backupId: '' }, { backupId: hex(1), filter: {} }] },
      },
    },
  ),
  table(
    SummarizeLogsRequestSchema,
    { backupId: hex(1) },
    {
      backupId,
      whole: {
        accepts: [{ backupId: '', filter: {} }],
        refuses: { backup_id: [{ backupId: '' }, { backupId: hex(1), filter: {} }] },
      },
    },
  ),
  table(
    PurgeLogsRequestSchema,
    { backupId: hex(1) },
    {
      olderThan: {
        accepts: [undefined, {}, { nanos: 1 }, ...age.accepts],
        refuses: { older_than: [{ nanos: -1 }, { seconds: -1n }, { seconds: 3_155_760_000n, nanos: 1 }] },
      },
      backupId: { accepts: backupId.accepts, refuses: { backup_id: badHex(hex(1)) } },
      maxEntries: { accepts: [0, 1, 1_000_000], refuses: { max_entries: [-1, 1_000_001, -(2 ** 31), 2 ** 31 - 1] } },
      requestId,
      whole: {
        accepts: age.accepts.map(olderThan => ({ backupId: '', olderThan })),
        refuses: {
          older_than: [undefined, {}, { nanos: 999_999_999 }].map(olderThan => ({ backupId: '', olderThan })),
        },
      },
    },
  ),
  table(
    TailLogsRequestSchema,
    { backupIds: [hex(1)] },
    {
      backupIds: {
        accepts: [[hex(1)], upTo(100).map(hex)],
        refuses: {
          backup_ids: [upTo(101).map(hex), [hex(1), hex(2), hex(1)]],
          'backup_ids[0]': badHex(hex(1)).map(bad => [bad]),
        },
      },
      start: {
        accepts: [
          { case: 'last', value: 0 },
          { case: 'last', value: 1_000_000 },
          { case: 'since', value: { seconds: 0n } },
          { case: 'since', value: { seconds: 253_402_300_799n, nanos: 999_999_999 } },
          { case: 'afterId', value: 0n },
          { case: 'afterId', value: 2n ** 63n - 1n },
          { case: 'resumeToken', value: 'x' },
          { case: 'resumeToken', value: 'x'.repeat(2_097_152) },
        ],
        refuses: {
          last: [-1, 1_000_001, 2 ** 31 - 1].map(value => ({ case: 'last', value })),
          since: time('since', 0n).refuses['since']!.map(value => ({ case: 'since', value })),
          after_id: [-1n, -(2n ** 63n)].map(value => ({ case: 'afterId', value })),
          resume_token: ['', 'x'.repeat(2_097_153), 'ä'.repeat(1_048_577)].map(value => ({
            case: 'resumeToken',
            value,
          })),
        },
      },
      maxLevel,
      whole: {
        accepts: [
          { backupIds: [hex(1)], start: { case: 'afterId', value: 1n } },
          { backupIds: [], filter: {} },
          { backupIds: [], everything: true },
        ],
        refuses: {
          after_id: [
            { backupIds: [hex(1), hex(2)], start: { case: 'afterId', value: 1n } },
            { backupIds: [], everything: true, start: { case: 'afterId', value: 1n } },
          ],
          backup_ids: [
            { backupIds: [] },
            { filter: {} },
            { everything: true },
            { backupIds: [], filter: {}, everything: true },
          ],
          until_finished: [
            { backupIds: [], filter: {}, untilFinished: true },
            { backupIds: [], everything: true, untilFinished: true },
          ],
        },
      },
    },
  ),
  table(
    TailFilterSchema,
    {},
    {
      operation: operation(0),
      type,
      itemId: int64From('item_id', 0n),
      userId: int64From('user_id', 0n),
      purposes,
    },
  ),
]);

describe('The rules of log entries in requests', () => {
  it('name the whole path', () => {
    const append = (entry: object) => ({
      backupId: hex(1),
      entries: [...lines(1), { level: LogLevel.INFO, ...entry }],
    });
    refuses(AppendLogsRequestSchema, append({ level: 10 }), 'entries[1].level');
    refuses(AppendLogsRequestSchema, append({ message: 'a\0b' }), 'entries[1].message');
    refuses(AppendLogsRequestSchema, append({ createTime: { seconds: -1n } }), 'entries[1].create_time');
    refuses(AppendLogsRequestSchema, append({ createTime: badNanos(5n)[0]! }), 'entries[1].create_time');
    refuses(
      ListLogsRequestSchema,
      { backupId: hex(1), window: { start: { seconds: 5n }, end: { seconds: 5n } } },
      'window',
    );
  });
});
