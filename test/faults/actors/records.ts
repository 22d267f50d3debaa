import { strict as assert } from 'node:assert';
import { randomUUID } from 'node:crypto';
import { type Controller, Operation, Purpose, Status, Type } from '../../../src/gen/backup/v1/controller_pb.ts';
import { newBackupId } from '../../support/writing.ts';
import { Caller, type Scene } from '../caller.ts';

/** What must be there at the end, by backup id: a controller as it was last answered, or that it is deleted. */
export type Records = Map<string, Controller | 'deleted'>;

/** By which the controllers of this actor are found. */
export const KEEPER = 77n;

/**
 * Keeps the books of controllers that nobody else touches, so that it knows what each must be. Every step is either sent with a request id until
 * it is answered, or once with an etag: then what is there must be either as before or as it was to become.
 */
export async function keepRecords(name: string, scene: Scene, records: Records): Promise<void> {
  const caller = new Caller(name, scene);
  while (!scene.stop.aborted) {
    const backupId = newBackupId();
    const requestId = randomUUID();
    const request = {
      backupId,
      operation: Operation.BACKUP,
      type: Type.COURSE,
      purpose: Purpose.GENERAL,
      userId: KEEPER,
    };
    const created = await caller.ask((replica, options) =>
      replica.controllers.createController({ ...request, requestId }, options),
    );
    let known = created.controller!;
    for (let steps = scene.dice.below(4); steps > 0; steps--) known = await change(caller, scene, known);
    known = await plan(caller, known);
    const read = await caller.ask((replica, options) => replica.controllers.getController({ backupId }, options));
    assert.equal(read.controller!.etag, known.etag, `${backupId} is not what was answered`);
    records.set(backupId, known);
    if (scene.dice.chance(0.4)) await remove(caller, known, records);
  }
}

async function change(caller: Caller, { dice }: Scene, known: Controller): Promise<Controller> {
  const { backupId, etag } = known;
  const request = { backupId, etag, updateMask: { paths: ['item_id'] }, controller: { itemId: known.itemId + 1n } };
  if (dice.chance(0.5)) {
    const requestId = randomUUID();
    const { controller } = await caller.ask((replica, options) =>
      replica.controllers.updateController({ ...request, requestId }, options),
    );
    assert.equal(controller!.itemId, known.itemId + 1n);
    return controller!;
  }
  const answer = await caller.once((replica, options) => replica.controllers.updateController(request, options));
  if (answer) return answer.value.controller!;
  // It may still be on its way: only a later change to the row decides what became of it.
  const touch = {
    backupId,
    updateMask: { paths: ['user_id'] },
    controller: { userId: KEEPER },
    requestId: randomUUID(),
  };
  const decided = await caller.ask((replica, options) => replica.controllers.updateController(touch, options));
  assert.ok([known.itemId, known.itemId + 1n].includes(decided.controller!.itemId), 'it was changed to something else');
  return decided.controller!;
}

/** A step of the life cycle: once, and again with the same id it is the same answer. */
async function plan(caller: Caller, { backupId }: Controller): Promise<Controller> {
  const request = { backupId, from: Status.CREATED, to: Status.PLANNED, requestId: randomUUID() };
  const send = () => caller.ask((replica, options) => replica.controllers.transitionController(request, options));
  const first = await send();
  assert.deepEqual((await send()).controller, first.controller);
  return first.controller!;
}

async function remove(caller: Caller, { backupId, etag }: Controller, records: Records): Promise<void> {
  const requestId = randomUUID();
  records.set(backupId, 'deleted');
  await caller.ask((replica, options) => replica.controllers.deleteController({ backupId, etag, requestId }, options));
}
