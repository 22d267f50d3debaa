import assert from 'node:assert/strict';
import type { MessageInitShape } from '@bufbuild/protobuf';
import fc from 'fast-check';
import {
  type Controller,
  type ControllerFilterSchema,
  ControllerOrder,
  type Execution,
  Operation,
  type Purpose,
  Status,
  type Type,
} from '../../../src/gen/backup/v1/controller_pb.ts';
import { type Backend, startBackend } from '../../support/backend.ts';
import { newId, newNumber } from './requests.ts';

type Filter = MessageInitShape<typeof ControllerFilterSchema>;

const BOUNDS = [
  { seconds: 1000n },
  { seconds: 1999n, nanos: 1 },
  { seconds: 2000n },
  { seconds: 2000n, nanos: 999_999_999 },
  { seconds: 3000n },
  { seconds: 4001n },
];
const windows = BOUNDS.flatMap((start, i) => [
  { start },
  { end: start },
  ...BOUNDS.slice(i + 1).map(end => ({ start, end })),
]);

// Each condition, the values that it is tried with, and whether a controller meets it.
const conditions: {
  [F in keyof Filter]?: [values: unknown[], meets: (controller: Controller, value: never) => boolean];
} = {
  operation: [[1, 2], (c, operation: Operation) => c.operation === operation],
  type: [[1, 2, 3], (c, type: Type) => c.type === type],
  itemId: [[0n, 1n, 9_007_199_254_740_993n, 2n ** 63n - 1n], (c, itemId: bigint) => c.itemId === itemId],
  statuses: [[[100], [700, 800], [900, 1000], [200, 200]], (c, statuses: Status[]) => statuses.includes(c.status)],
  purposes: [[[10], [999, 50], [32767]], (c, purposes: Purpose[]) => purposes.includes(c.purpose)],
  format: [['moodle2', 'imscc1', 'moodle'], (c, format: string) => c.format === format],
  execution: [[1, 2], (c, execution: Execution) => c.execution === execution],
  created: [windows, (c, window: Window) => within(c.createTime!.seconds, window)],
  updated: [windows, (c, window: Window) => within(c.updateTime!.seconds, window)],
};

describe('The filters of ControllerService.ListControllers', () => {
  let backend: Backend;
  let all: Controller[];
  const userId = newNumber();

  before(async () => {
    backend = await startBackend();
    for (let i = 0; i < 60; i++) await backend.controllers.createController(varied(i));
    await backend.database.query(
      `update backup_controllers set created_at = 1000 * (1 + id % 4), updated_at = 1000 * (1 + id % 4) + 1000 * (id % 3)
       where userid = $1`,
      [userId],
    );
    await backend.controllers.createController({ ...varied(1), backupId: newId(), userId: userId + 1n });
    all = await list({});
  });
  after(() => backend[Symbol.asyncDispose]());

  it('find a user by number, exactly', async () => {
    assert.equal(all.length, 60);
    assert.ok(all.every(controller => controller.userId === userId));
    assert.equal((await list({ userId: userId + 1n })).length, 1);
    assert.equal((await list({ userId: 2n ** 63n - 1n })).length, 0);
  });

  for (const [name, [values]] of Object.entries(conditions)) {
    it(`find by ${name}`, async () => {
      for (const value of values) await finds({ [name]: value } as Filter);
    });
  }

  it('all hold together', async () => {
    const some = Object.fromEntries(
      Object.entries(conditions).map(([name, [values]]) => [
        name,
        fc.option(fc.constantFrom(...values), { nil: undefined, freq: 2 }),
      ]),
    );
    for (const chosen of fc.sample(fc.record(some), 60)) {
      await finds(Object.fromEntries(Object.entries(chosen).filter(([, value]) => value !== undefined)) as Filter);
    }
  });

  it('find everything when they say nothing', async () => {
    const { controllers } = await backend.controllers.listControllers({ pageSize: 1000 });
    assert.equal(controllers.length, 61);
  });

  it('list in the order of creation, either way', async () => {
    const ascending = (a: Controller, b: Controller) =>
      Number(a.createTime!.seconds - b.createTime!.seconds) || Number(a.id - b.id);
    const ids = (controllers: Controller[]) => controllers.map(({ id }) => id);
    const oldestFirst = ids([...all].sort(ascending));
    assert.deepEqual(ids(await list({}, ControllerOrder.OLDEST_FIRST)), oldestFirst);
    assert.deepEqual(ids(await list({}, ControllerOrder.NEWEST_FIRST)), oldestFirst.toReversed());
    assert.deepEqual(ids(await list({}, ControllerOrder.UNSPECIFIED)), oldestFirst.toReversed());
  });

  /** Lists with a filter and compares with what the conditions say of every controller. */
  async function finds(filter: Filter): Promise<void> {
    const expected = all.filter(controller =>
      Object.entries(filter).every(([name, value]) => conditions[name as keyof Filter]![1](controller, value as never)),
    );
    assert.deepEqual(await list(filter), expected);
  }

  async function list(filter: Filter, order: ControllerOrder = ControllerOrder.OLDEST_FIRST): Promise<Controller[]> {
    return (await backend.controllers.listControllers({ filter: { userId, ...filter }, order, pageSize: 1000 }))
      .controllers;
  }

  function varied(i: number) {
    const restoring = i % 2 === 1;
    return {
      backupId: newId(),
      operation: restoring ? Operation.RESTORE : Operation.BACKUP,
      type: (restoring ? i % 4 : 1 + (i % 3)) as Type,
      itemId: [0n, 1n, 9_007_199_254_740_992n, 9_007_199_254_740_993n, 2n ** 63n - 1n][i % 5]!,
      userId,
      format: ['moodle2', 'imscc1'][(i >> 1) % 2]!,
      purpose: [10, 50, 999, 32767][(i >> 2) % 4] as Purpose,
      execution: (1 + ((i >> 3) % 2)) as Execution,
      status: [Status.CREATED, Status.AWAITING, Status.EXECUTING][i % 3]!,
    };
  }
});

type Window = { start?: Bound; end?: Bound };
type Bound = { seconds: bigint; nanos?: number };

/** As the protocol says it: start included, end not. */
function within(seconds: bigint, { start, end }: Window): boolean {
  const at = (bound: Bound) => bound.seconds * 1_000_000_000n + BigInt(bound.nanos ?? 0);
  const time = seconds * 1_000_000_000n;
  return (!start || time >= at(start)) && (!end || time < at(end));
}
