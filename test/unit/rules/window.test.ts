import {
  ListControllersRequestSchema,
  UpdateControllerRequestSchema,
} from '../../../src/gen/backup/v1/controller_pb.ts';
import { file_backup_v1_window, TimeWindowSchema } from '../../../src/gen/backup/v1/window_pb.ts';
import { describeRules, refuses, table } from '../../support/rules.ts';
import { badNanos, hex } from './edges.ts';

const [early, late] = [{ seconds: 5n }, { seconds: 5n, nanos: 1 }];

describeRules(file_backup_v1_window, [
  table(
    TimeWindowSchema,
    {},
    {
      whole: {
        accepts: [{}, { start: early }, { end: late }, { start: early, end: late }],
        refuses: {
          time_window: [
            { start: early, end: early },
            { start: late, end: early },
          ],
        },
      },
      start: {
        accepts: [{ seconds: 0n }],
        refuses: { start: [{ seconds: -(2n ** 63n) }, { seconds: 2n ** 63n - 1n }, ...badNanos(5n)] },
      },
      end: {
        accepts: [{ seconds: 0n }],
        refuses: { end: [{ seconds: -(2n ** 63n) }, { seconds: 2n ** 63n - 1n }, ...badNanos(5n)] },
      },
    },
  ),
]);

describe('The rules of messages in messages', () => {
  it('name the whole path', () => {
    const list = (filter: object) => ({ filter });
    refuses(ListControllersRequestSchema, list({ itemId: -1n }), 'filter.item_id');
    refuses(ListControllersRequestSchema, list({ statuses: [100, 5] }), 'filter.statuses[1]');
    refuses(ListControllersRequestSchema, list({ created: { start: early, end: early } }), 'filter.created');
    refuses(ListControllersRequestSchema, list({ updated: { start: badNanos(5n)[0]! } }), 'filter.updated.start');
    const update = { backupId: hex(1), updateMask: { paths: ['progress'] } };
    refuses(UpdateControllerRequestSchema, { ...update, controller: { progress: 2 } }, 'controller.progress');
  });
});
