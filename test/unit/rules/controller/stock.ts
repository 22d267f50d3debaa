import {
  DownloadPayloadRequestSchema,
  PurgeControllersRequestSchema,
  UploadFinishSchema,
  UploadPayloadRequestSchema,
  UploadStartSchema,
  WatchControllersRequestSchema,
} from '../../../../src/gen/backup/v1/controller_pb.ts';
import { table } from '../../../support/rules.ts';
import { backupId, badHex, duration, etag, hex, optionalLeaseToken, requestId } from '../edges.ts';
import { purposes, statuses, upTo } from './values.ts';

const part = (name: string, value: unknown) => ({ case: name, value });
const age = duration('older_than', 1n, 3_155_760_000n); // a hundred years of 365.25 days

/** Of the messages about all that is there: watches, payloads and retention. */
export const stock = [
  table(
    WatchControllersRequestSchema,
    {},
    {
      backupIds: {
        accepts: [[], [hex(1)], upTo(999).map(hex)],
        refuses: {
          backup_ids: [upTo(1000).map(hex), [hex(1), hex(2), hex(1)]],
          'backup_ids[1]': badHex(hex(2)).map(bad => [hex(1), bad]),
        },
      },
      resumeToken: {
        accepts: ['', 'x'.repeat(4096)],
        refuses: { resume_token: ['x'.repeat(4097), 'ä'.repeat(2049), 'x'.repeat(1_000_000)] },
      },
      whole: {
        accepts: [{ filter: {} }, { backupIds: [hex(1)], untilFinished: true }],
        refuses: {
          backup_ids: [
            { backupIds: [hex(1)], filter: {} },
            { backupIds: [hex(1)], filter: { itemId: 1n }, untilFinished: true },
          ],
          until_finished: [{ untilFinished: true }, { untilFinished: true, filter: {} }],
        },
      },
    },
  ),
  table(
    UploadPayloadRequestSchema,
    { part: { case: 'finish', value: { checksum: hex(1) } } },
    {
      part: {
        accepts: [
          part('start', { backupId: hex(1) }),
          part('chunk', new Uint8Array(1)),
          part('chunk', new Uint8Array(2_097_152)),
          part('finish', { checksum: hex(1) }),
        ],
        refuses: {
          part: [undefined, { case: undefined }],
          chunk: [part('chunk', new Uint8Array()), part('chunk', new Uint8Array(2_097_153))],
          'start.backup_id': [part('start', {})],
          'finish.checksum': [part('finish', {})],
        },
      },
    },
  ),
  table(UploadStartSchema, { backupId: hex(1) }, { backupId, leaseToken: optionalLeaseToken, etag, requestId }),
  table(
    UploadFinishSchema,
    { checksum: hex(1) },
    { checksum: { accepts: [hex(1)], refuses: { checksum: ['', ...badHex(hex(1))] } } },
  ),
  table(DownloadPayloadRequestSchema, { backupId: hex(1) }, { backupId }),
  table(
    PurgeControllersRequestSchema,
    { olderThan: { seconds: 1n } },
    {
      olderThan: { accepts: age.accepts, refuses: { older_than: [undefined, {}, ...age.refuses['older_than']!] } },
      statuses,
      purposes,
      maxControllers: { accepts: [0, 1, 10_000], refuses: { max_controllers: [-1, 10_001, -(2 ** 31), 2 ** 31 - 1] } },
      requestId,
    },
  ),
];
