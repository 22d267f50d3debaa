import {
  BatchGetControllersRequestSchema,
  ControllerFilterSchema,
  CreateControllerRequestSchema,
  DeleteControllerRequestSchema,
  GetControllerRequestSchema,
  ListControllersRequestSchema,
  Operation,
  Purpose,
  Status,
  TransitionControllerRequestSchema,
  Type,
} from '../../../../src/gen/backup/v1/controller_pb.ts';
import { table } from '../../../support/rules.ts';
import { backupId, badHex, etag, hex, int64From, pageSize, pageToken, requestId, time } from '../edges.ts';
import {
  checksum,
  execution,
  format,
  operation,
  payload,
  purpose,
  purposes,
  STATUSES,
  status,
  statuses,
  type,
  upTo,
} from './values.ts';

const order = { accepts: upTo(2), refuses: { order: [3, -1] } };
const created = { operation: Operation.BACKUP, type: Type.COURSE, purpose: Purpose.ASYNC };
const later = { executionTime: { seconds: 5n } };

/** Of the messages that keep the books: create, read, delete, transition. */
export const books = [
  table(CreateControllerRequestSchema, created, {
    backupId: { accepts: ['', hex(1)], refuses: { backup_id: badHex(hex(1)) } },
    operation: operation(1),
    type,
    itemId: int64From('item_id', 0n),
    format,
    purpose: { ...purpose, refuses: { purpose: [0, ...purpose.refuses.purpose] } },
    userId: int64From('user_id', 0n),
    status: status('status', [0, ...STATUSES.slice(0, 8)], [900, 1000]),
    execution,
    executionTime: time('execution_time', 1n),
    checksum,
    payload,
    requestId,
    maxAttempts: { accepts: [0, 1, 100], refuses: { max_attempts: [-1, 101, -(2 ** 31), 2 ** 31 - 1] } },
    whole: {
      accepts: [
        { ...later, execution: 2, purpose: Purpose.GENERAL },
        { ...later, execution: 0, purpose: Purpose.COPY },
        { ...later, execution: 2, purpose: Purpose.ASYNC },
      ],
      refuses: {
        execution_time: [
          { ...later, execution: 1, purpose: Purpose.ASYNC },
          { ...later, execution: 0, purpose: Purpose.GENERAL },
          { ...later, execution: 0, purpose: 999 as Purpose },
        ],
      },
    },
  }),
  table(
    GetControllerRequestSchema,
    { backupId: hex(1) },
    {
      backupId,
      view: { accepts: upTo(2), refuses: { view: [3, -1] } },
    },
  ),
  table(
    BatchGetControllersRequestSchema,
    { backupIds: [hex(1)] },
    {
      backupIds: {
        accepts: [[hex(1)], upTo(999).map(hex)],
        refuses: {
          backup_ids: [[], upTo(1000).map(hex), [hex(1), hex(2), hex(1)]],
          'backup_ids[1]': badHex(hex(2)).map(bad => [hex(1), bad]),
        },
      },
    },
  ),
  table(
    ControllerFilterSchema,
    {},
    {
      operation: operation(0),
      type,
      itemId: int64From('item_id', 0n),
      userId: int64From('user_id', 0n),
      statuses,
      purposes,
      format,
      execution,
    },
  ),
  table(ListControllersRequestSchema, {}, { order, pageSize, pageToken }),
  table(DeleteControllerRequestSchema, { backupId: hex(1) }, { backupId, etag, requestId }),
  table(
    TransitionControllerRequestSchema,
    { backupId: hex(1), from: Status.CREATED, to: Status.PLANNED },
    {
      backupId,
      from: status('from', STATUSES, [0]),
      to: status('to', STATUSES, [0]),
      etag,
      requestId,
    },
  ),
];
