import {
  BatchGetControllersRequestSchema,
  ControllerFilterSchema,
  ControllerPatchSchema,
  CreateControllerRequestSchema,
  DeleteControllerRequestSchema,
  file_backup_v1_controller,
  GetControllerRequestSchema,
  ListControllersRequestSchema,
  Operation,
  Purpose,
  Status,
  TransitionControllerRequestSchema,
  Type,
  UpdateControllerRequestSchema,
} from '../../../src/gen/backup/v1/controller_pb.ts';
import {
  backupId,
  badHex,
  describeRules,
  etag,
  hex,
  int64From,
  pageSize,
  pageToken,
  requestId,
  table,
  time,
} from '../../support/rules.ts';

const STATUSES = [100, 200, 300, 400, 500, 600, 700, 800, 900, 1000];
const NO_STATUS = [1, 99, 150, 1001, -100, 2 ** 31 - 1, -(2 ** 31)];
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

const upTo = (most: number) => [...Array(most + 1).keys()];
const type = { accepts: upTo(3), refuses: { type: [4, -1, 2 ** 31 - 1] } };
const execution = { accepts: upTo(2), refuses: { execution: [3, -1, 2 ** 31 - 1] } };
const order = { accepts: upTo(2), refuses: { order: [3, -1] } };
const operation = (least: number) => ({ accepts: [1, 2, least], refuses: { operation: [least - 1, 3, 2 ** 31 - 1] } });
const status = (path: string, accepts: number[], more: number[]) => ({
  accepts,
  refuses: { [path]: [...NO_STATUS, ...more] },
});
const purpose = { accepts: [1, 10, 50, 999, 32767], refuses: { purpose: [-1, -(2 ** 31), 32768, 2 ** 31 - 1] } };
const format = {
  accepts: ['', 'm', 'moodle2', 'imscc11', 'a_b-9', 'x'.repeat(20)],
  refuses: { format: ['x'.repeat(21), 'Moodle2', 'moodle 2', 'moodle\0', 'ä', 'moodle2\n', 'x'.repeat(1_000_000)] },
};
const checksum = { accepts: ['', hex(1)], refuses: { checksum: badHex(hex(1)) } };
const payload = {
  accepts: [new Uint8Array(), new Uint8Array([0, 255]), new Uint8Array(1_048_576)],
  refuses: { payload: [new Uint8Array(1_048_577)] },
};

const created = { operation: Operation.BACKUP, type: Type.COURSE, purpose: Purpose.ASYNC };
const later = { executionTime: { seconds: 5n } };

describeRules(file_backup_v1_controller, [
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
      statuses: {
        accepts: [[], STATUSES, Array(10).fill(Status.AWAITING)],
        refuses: {
          statuses: [Array(11).fill(Status.AWAITING)],
          'statuses[1]': [0, ...NO_STATUS].map(bad => [Status.AWAITING, bad]),
        },
      },
      purposes: {
        accepts: [[], [999, 1, 32767], upTo(99).map(n => n + 1)],
        refuses: {
          purposes: [upTo(100).map(n => n + 1)],
          'purposes[0]': [0, -1, 32768, 2 ** 31 - 1].map(bad => [bad]),
        },
      },
      format,
      execution,
    },
  ),
  table(ListControllersRequestSchema, {}, { order, pageSize, pageToken }),
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
      progress: {
        accepts: [0, -0, 1e-14, 0.5, 0.999_999_999_999_99, 1],
        refuses: { progress: [-1e-15, 1 + Number.EPSILON, NaN, Infinity, -Infinity, Number.MAX_VALUE] },
      },
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
            ...[
              '',
              '*',
              'status',
              'backup_id',
              'itemId',

              'controller.type',
              'type\0',
              '__proto__',
              'constructor',
            ].map(bad => ({ paths: ['type', bad] })),
          ],
        },
      },
      etag,
      requestId,
    },
  ),
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
]);
