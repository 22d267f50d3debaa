import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import type { MessageInitShape } from '@bufbuild/protobuf';
import fc from 'fast-check';
import {
  type Controller,
  type ControllerPatchSchema,
  ControllerView,
  Execution,
  Purpose,
  Status,
  Type,
} from '../../../src/gen/backup/v1/controller_pb.ts';
import { type Backend, startBackend } from '../../support/backend.ts';
import { refused, winners } from '../../support/status.ts';
import { held } from '../work/work.ts';
import { backup, newId, put, restore, rowOf } from './requests.ts';

type Patch = MessageInitShape<typeof ControllerPatchSchema>;

const STALE = { code: 'ABORTED', reason: 'ETAG_MISMATCH' } as const;
const LEASED = { code: 'FAILED_PRECONDITION', reason: 'CONTROLLER_LEASED' } as const;
const FINISHED = { code: 'FAILED_PRECONDITION', reason: 'CONTROLLER_FINISHED' } as const;
const invalid = (field: string) => ({ code: 'INVALID_ARGUMENT', reason: 'INVALID_FIELD', field }) as const;

// What each field is set to, and what the controller shows then.
const values: Record<string, Patch> = {
  type: { type: Type.SECTION },
  item_id: { itemId: 9_007_199_254_740_993n },
  format: { format: 'imscc1' },
  purpose: { purpose: 999 as Purpose },
  user_id: { userId: 2n ** 63n - 1n },
  execution: { execution: Execution.IMMEDIATE },
  execution_time: { executionTime: { seconds: 253_402_300_799n } },
  checksum: { checksum: 'b'.repeat(32) },
  progress: { progress: 0.123_456_789_012_34 },
};
const everything = Object.assign({}, ...Object.values(values)) as Patch;

describe('ControllerService.UpdateController', () => {
  let backend: Backend;
  before(async () => {
    backend = await startBackend();
  });
  after(() => backend[Symbol.asyncDispose]());

  const create = async (more = {}) => (await backend.controllers.createController(backup(more))).controller!;
  const update = async (backupId: string, paths: string[], controller: Patch, etag = ''): Promise<Controller> =>
    (await backend.controllers.updateController({ backupId, controller, updateMask: { paths }, etag })).controller!;

  for (const [path, value] of Object.entries(values)) {
    it(`changes ${path} when the mask names it, and nothing else`, async () => {
      const before = await create({ purpose: Purpose.ASYNC });
      const after = await update(before.backupId, [path], everything);
      const { $typeName, ...changed } = { $typeName: '', ...value };
      assert.notEqual(after.etag, before.etag);
      const rest = { etag: after.etag, updateTime: after.updateTime! };
      const times = after.executionTime && path === 'execution_time' ? { executionTime: after.executionTime } : {};
      assert.deepEqual(after, { ...before, ...changed, ...rest, ...times });
      assert.equal(times.executionTime?.seconds, value.executionTime?.seconds);
      assert.deepEqual((await backend.controllers.getController({ backupId: before.backupId })).controller, after);
    });
  }

  it('changes many fields at once', async () => {
    const { backupId } = await create({ purpose: Purpose.ASYNC });
    const paths = Object.keys(values).filter(path => path !== 'execution');
    const after = await update(backupId, [...paths, ...paths], everything);
    assert.deepEqual([after.itemId, after.format, after.progress], [everything.itemId, 'imscc1', everything.progress]);
  });

  it('changes the payload, and its checksum with it', async () => {
    const { backupId } = await create({ payload: Buffer.from('old') });
    const payload = Uint8Array.of(0, 255, 10, 128);
    const sum = createHash('md5').update(payload).digest('hex');
    assert.equal((await update(backupId, ['payload'], { payload, checksum: 'a'.repeat(32) })).checksum, sum);
    assert.equal((await update(backupId, ['payload', 'checksum'], { payload, checksum: sum })).checksum, sum);
    const wrong = { payload: Buffer.from('new'), checksum: 'a'.repeat(32) };
    await refused(update(backupId, ['payload', 'checksum'], wrong), invalid('controller.checksum'));
    const { controller } = await backend.controllers.getController({ backupId, view: ControllerView.FULL });
    assert.deepEqual([...controller!.payload], [...payload]);
  });

  it('keeps progress with 14 decimals', async () => {
    const { backupId } = await create();
    const steps = fc.sample(fc.integer({ min: 0, max: 1e14 }), 8);
    for (const n of [0, 1, 99_999_999_999_999, 1e14, ...steps]) {
      const progress = n / 1e14;
      assert.equal((await update(backupId, ['progress'], { progress })).progress, progress);
      assert.equal((await rowOf(backend.database, backupId))['progress'], progress.toFixed(14));
    }
  });

  it('refuses a mask that names nothing, or what cannot be changed', async () => {
    const { backupId } = await create();
    const bad = [
      '',
      'status',
      'backup_id',
      'operation',
      'id',
      'etag',
      'itemId',
      'type.x',
      'execution_time.seconds',
      '__proto__',
    ];
    for (const path of bad) await refused(update(backupId, ['format', path], everything), invalid('update_mask'));
    await refused(update(backupId, [], everything), invalid('update_mask'));
    assert.equal((await rowOf(backend.database, backupId))['revision'], 1);
  });

  it('refuses to empty what a run must have', async () => {
    const { backupId } = await create();
    for (const path of ['format', 'purpose', 'execution', 'type']) {
      await refused(update(backupId, [path], {}), invalid(`controller.${path}`));
    }
    const { controller } = await backend.controllers.createController(restore({ type: Type.COURSE }));
    assert.equal((await update(controller!.backupId, ['type'], {})).type, Type.UNSPECIFIED);
  });

  it('keeps an execution time for delayed execution only', async () => {
    const { backupId } = await create({ purpose: Purpose.ASYNC, executionTime: { seconds: 5n } });
    const immediate = { execution: Execution.IMMEDIATE };
    const field = invalid('controller.execution_time');
    await refused(update(backupId, ['execution'], immediate), field);
    const both = { ...immediate, executionTime: { seconds: 6n } };
    await refused(update(backupId, ['execution', 'execution_time'], both), field);
    assert.equal((await update(backupId, ['execution', 'execution_time'], immediate)).executionTime, undefined);
    await refused(update(backupId, ['execution_time'], { executionTime: { seconds: 6n } }), field);
    const delayed = { execution: Execution.DELAYED, executionTime: { seconds: 7n, nanos: 999_999_999 } };
    const { executionTime } = await update(backupId, ['execution_time', 'execution'], delayed);
    assert.deepEqual([executionTime!.seconds, executionTime!.nanos], [7n, 0]);
    assert.equal((await update(backupId, ['execution_time'], {})).executionTime, undefined);
  });

  it('gives a finished run no new progress and no new payload', async () => {
    for (const status of [Status.FINISHED_ERR, Status.FINISHED_OK]) {
      const { backupId } = await create({ purpose: Purpose.ASYNC });
      await put(backend.database, backupId, status);
      await refused(update(backupId, ['format', 'progress'], everything), FINISHED);
      await refused(update(backupId, ['payload'], { payload: Buffer.from('x') }), FINISHED);
      assert.equal((await rowOf(backend.database, backupId))['revision'], 1);
      assert.equal((await update(backupId, ['format'], everything)).format, 'imscc1');
    }
  });

  it('leaves progress, payload and checksum of a run that a worker holds to that worker', async () => {
    const lease = await held(backend, { claim: { worker: 'worker 7' }, run: { payload: Buffer.from('old') } });
    const { backupId } = lease;
    const before = await rowOf(backend.database, backupId);
    for (const paths of [['progress'], ['payload'], ['checksum'], ['format', 'checksum']]) {
      const { info } = await refused(update(backupId, paths, everything), LEASED);
      assert.equal(info!.metadata['worker'], 'worker 7');
    }
    assert.deepEqual(await rowOf(backend.database, backupId), before);
    const others = ['type', 'item_id', 'format', 'purpose', 'user_id', 'execution_time'];
    const { format, lease: still, attempt } = await update(backupId, others, everything);
    assert.deepEqual([format, still?.worker, attempt], ['imscc1', 'worker 7', 1]);
    const { results } = await backend.controllers.reportProgress({ reports: [{ ...lease, progress: 0.5 }] });
    assert.equal(results[0]!.progress, 0.5);
    await backend.controllers.releaseController(lease);
    assert.equal((await update(backupId, ['progress'], { progress: 0.25 })).progress, 0.25);
  });

  it('changes nothing with a stale etag', async () => {
    const { backupId, etag } = await create();
    const changed = await update(backupId, ['item_id'], { itemId: 1n }, etag);
    await refused(update(backupId, ['item_id'], { itemId: 2n }, etag), STALE);
    await refused(update(backupId, ['item_id'], { itemId: 2n }, 'made up'), STALE);
    assert.deepEqual((await backend.controllers.getController({ backupId })).controller, changed);
  });

  it('lets exactly one of two win that come with the same etag', async () => {
    for (let round = 0; round < 10; round++) {
      const { backupId, etag } = await create();
      const calls = [1n, 2n].map(itemId => update(backupId, ['item_id'], { itemId }, etag));
      assert.equal(await winners(calls, STALE), 1);
    }
  });

  it('loses none of many changes of different fields at once', async () => {
    const { backupId } = await create({ purpose: Purpose.ASYNC });
    const paths = Object.keys(values).filter(path => path !== 'execution');
    await Promise.all(paths.map(path => update(backupId, [path], everything)));
    const { controller } = await backend.controllers.getController({ backupId });
    for (const [key, value] of Object.entries(everything)) {
      if (key !== 'execution' && key !== 'executionTime') assert.equal(controller![key as 'itemId'], value);
    }
    assert.equal((await rowOf(backend.database, backupId))['revision'], 1 + paths.length);
  });

  it("tells when a row was changed by the database's clock, which never goes back", async () => {
    const { backupId } = await create();
    const clock = (seconds: string) =>
      backend.database.query(
        `update backup_controllers set created_at = t, updated_at = t from (select floor(extract(epoch from now()))::bigint + ${seconds} as t) c
         where backupid = $1 returning t`,
        [backupId],
      );
    const past = BigInt((await clock('-1000'))[0]!['t'] as string);
    const changed = await update(backupId, ['item_id'], { itemId: 1n });
    assert.ok(changed.updateTime!.seconds >= past + 1000n && changed.updateTime!.seconds < past + 1060n);
    assert.equal(changed.createTime!.seconds, past);
    const future = BigInt((await clock('1000'))[0]!['t'] as string);
    assert.equal((await update(backupId, ['item_id'], { itemId: 2n })).updateTime!.seconds, future);
  });

  it('says when there is no such controller', async () => {
    await refused(update(newId(), ['type'], everything), { code: 'NOT_FOUND', reason: 'CONTROLLER_NOT_FOUND' });
  });
});
