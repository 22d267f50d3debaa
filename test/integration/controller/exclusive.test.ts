import { strict as assert } from 'node:assert';
import { Outcome, Status, Type } from '../../../src/gen/backup/v1/controller_pb.ts';
import { type Backend, startBackend } from '../../support/backend.ts';
import { refused, winners } from '../../support/status.ts';
import { finish } from '../../support/writing.ts';
import { held } from '../work/work.ts';
import { backup, newId, newNumber, put, restore } from './requests.ts';

const TAKEN = { code: 'FAILED_PRECONDITION', reason: 'EXCLUSIVE_TAKEN' } as const;

describe('An exclusive controller', () => {
  let backend: Backend;
  before(async () => {
    backend = await startBackend({ replicas: 2 });
  });
  after(() => backend[Symbol.asyncDispose]());

  const create = async (request: ReturnType<typeof backup>, replica = 0) =>
    (await backend.replicas[replica]!.controllers.createController(request)).controller!;
  const exclusive = (itemId: bigint, more: ReturnType<typeof backup> = {}) =>
    backup({ itemId, exclusive: true, ...more });

  /** Asserts that a call is refused because of this controller. */
  async function taken(call: Promise<unknown>, backupId: string): Promise<void> {
    const { info } = await refused(call, TAKEN);
    assert.deepEqual({ ...info!.metadata }, { backup_id: backupId });
  }

  it('is one of many that are created at the same time, on both replicas', async () => {
    let itemId = newNumber();
    for (let round = 0; round < 6; round++) {
      // Every other time there was one before: who comes first is not decided by the same lock.
      if (round % 2 === 0) itemId = newNumber();
      const calls = Array.from({ length: 20 }, (_, i) => create(exclusive(itemId), i % 2));
      assert.equal(await winners(calls, TAKEN), 1);
      const won = (await Promise.allSettled(calls)).find(outcome => outcome.status === 'fulfilled')!.value;
      for (const call of calls) if ((await call.catch(() => undefined)) === undefined) await taken(call, won.backupId);
      const filter = { itemId, statuses: [Status.CREATED] };
      assert.deepEqual((await backend.controllers.listControllers({ filter })).controllers, [won]);
      await backend.controllers.cancelController({ backupId: won.backupId });
    }
  });

  it('is refused while any other one has not finished, whether that is exclusive or not', async () => {
    for (const status of [100, 300, 400, 500, 700, 800] as Status[]) {
      const itemId = newNumber();
      const { backupId } = await create(backup({ itemId, interactive: true }));
      await put(backend.database, backupId, status);
      await taken(create(exclusive(itemId)), backupId);
    }
  });

  it('is allowed again when the other one has finished or was deleted', async () => {
    const itemId = newNumber();
    const first = await create(exclusive(itemId));
    await taken(create(exclusive(itemId)), first.backupId);
    await finish(backend, first.backupId);
    const second = await create(exclusive(itemId));
    await taken(create(exclusive(itemId)), second.backupId);
    await backend.controllers.cancelController({ backupId: second.backupId });
    const third = await create(exclusive(itemId));
    await backend.controllers.deleteController({ backupId: third.backupId });
    await create(exclusive(itemId));
  });

  it('is alone with its operation, type and item, and does not hinder others', async () => {
    const itemId = newNumber();
    await create(exclusive(itemId));
    await create(exclusive(itemId, { type: Type.SECTION }));
    await create(exclusive(itemId + 1n));
    await create({ ...restore({ type: Type.COURSE, itemId }), exclusive: true });
    await create(restore({ itemId, exclusive: true }));
    // One that does not ask for it is not held up.
    await create(backup({ itemId }));
  });

  it('that was refused may be created with the same id later', async () => {
    const itemId = newNumber();
    const first = await create(exclusive(itemId));
    const backupId = newId();
    await taken(create(exclusive(itemId, { backupId })), first.backupId);
    await backend.controllers.deleteController({ backupId: first.backupId });
    assert.equal((await create(exclusive(itemId, { backupId }))).backupId, backupId);
  });

  it('is not tried again while another one has not finished', async () => {
    const itemId = newNumber();
    const lease = await held(backend, { run: { itemId, exclusive: true } });
    const { backupId } = lease;
    await backend.controllers.finishControllers({ finishes: [{ ...lease, outcome: Outcome.FAILED, reason: 'x' }] });
    const other = await create(exclusive(itemId));
    await taken(backend.controllers.retryController({ backupId }), other.backupId);
    assert.equal((await backend.controllers.getController({ backupId })).controller!.status, Status.FINISHED_ERR);
    await finish(backend, other.backupId);
    const calls = [backend.controllers.retryController({ backupId }), create(exclusive(itemId), 1)];
    assert.equal(await winners(calls, TAKEN), 1);
  });

  it('does not move to where another one is that has not finished', async () => {
    const [from, to] = [newNumber(), newNumber()];
    const other = await create(backup({ itemId: to }));
    const { backupId } = await create(exclusive(from));
    const move = (controller: { itemId?: bigint; type?: Type }, ...paths: string[]) =>
      backend.controllers.updateController({ backupId, controller, updateMask: { paths } });
    await taken(move({ itemId: to }, 'item_id'), other.backupId);
    await move({ itemId: to, type: Type.SECTION }, 'item_id', 'type');
    await taken(move({ type: Type.COURSE }, 'type'), other.backupId);
    await finish(backend, other.backupId);
    await move({ type: Type.COURSE }, 'type');
    await taken(create(exclusive(to)), backupId);
    await create(exclusive(from));
  });

  it('may be moved when it has finished, and does not count then', async () => {
    const itemId = newNumber();
    const done = await create(exclusive(newNumber()));
    await finish(backend, done.backupId);
    const other = await create(exclusive(itemId));
    const { controller } = await backend.controllers.updateController({
      backupId: done.backupId,
      controller: { itemId },
      updateMask: { paths: ['item_id'] },
    });
    assert.equal(controller!.itemId, itemId);
    await taken(create(exclusive(itemId)), other.backupId);
  });

  it('is not hindered by changes of others that leave its place alone', async () => {
    const itemId = newNumber();
    const first = await create(exclusive(itemId));
    const second = await create(backup({ itemId }));
    for (const { backupId } of [first, second]) {
      const change = { backupId, controller: { userId: 5n }, updateMask: { paths: ['user_id'] } };
      assert.equal((await backend.controllers.updateController(change)).controller!.userId, 5n);
      const step = { backupId, from: Status.CREATED, to: Status.PLANNED };
      assert.equal((await backend.controllers.transitionController(step)).controller!.status, Status.PLANNED);
    }
  });
});
