import { ControllerPatchSchema, UpdateControllerRequestSchema } from '../../../../src/gen/backup/v1/controller_pb.ts';
import { table } from '../../../support/rules.ts';
import { backupId, etag, hex, int64From, requestId, time } from '../edges.ts';
import { checksum, execution, format, payload, progress, purpose, type } from './values.ts';

const FIELDS = [
  'type',
  'item_id',
  'format',
  'purpose',
  'user_id',
  'execution',
  'execution_time',
  'checksum',
  'payload',
  'progress',
];

/** Of the messages that change fields. */
export const update = [
  table(
    ControllerPatchSchema,
    {},
    {
      type,
      itemId: int64From('item_id', 0n),
      format,
      purpose: { ...purpose, accepts: [0, ...purpose.accepts] },
      userId: int64From('user_id', 0n),
      execution,
      executionTime: time('execution_time', 1n),
      checksum,
      payload,
      progress,
    },
  ),
  table(
    UpdateControllerRequestSchema,
    { backupId: hex(1), controller: {}, updateMask: { paths: ['type'] } },
    {
      backupId,
      controller: { accepts: [{}], refuses: { controller: [undefined] } },
      updateMask: {
        accepts: [...FIELDS.map(name => ({ paths: [name] })), { paths: FIELDS }, { paths: ['type', 'type'] }],
        refuses: {
          update_mask: [
            undefined,
            { paths: [] },
            ...['', '*', 'status', 'backup_id', 'itemId', 'controller.type', 'type\0', '__proto__', 'constructor'].map(
              bad => ({ paths: ['type', bad] }),
            ),
          ],
        },
      },
      etag,
      requestId,
    },
  ),
];
