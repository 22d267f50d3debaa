import assert from 'node:assert/strict';
import { nextStatuses, operations, Status as Statuses } from '../../../src/controller/lifecycle.ts';
import {
  type Controller,
  ControllerView,
  Outcome,
  Status,
  StatusSchema,
} from '../../../src/gen/backup/v1/controller_pb.ts';
import { LogLevel } from '../../../src/gen/backup/v1/entry_pb.ts';
import { type Backend, startBackend } from '../../support/backend.ts';
import { refused, winners } from '../../support/status.ts';
import { held } from '../work/work.ts';
import { backup, newId, put, restore, rowOf } from './requests.ts';

const CHANGED = { code: 'ABORTED', reason: 'STATUS_CHANGED' } as const;
const ILLEGAL = { code: 'FAILED_PRECONDITION', reason: 'ILLEGAL_TRANSITION' } as const;
const all = Object.values(Statuses) as Status[];

describe('ControllerService.TransitionController', () => {
  let backend: Backend;
  before(async () => {
    backend = await startBackend();
  });
  after(() => backend[Symbol.asyncDispose]());

  const create = async (more = {}) => (await backend.controllers.createController(backup(more))).controller!;
  const step = async (backupId: string, from: Status, to: Status, etag = ''): Promise<Controller> =>
    (await backend.controllers.transitionController({ backupId, from, to, etag })).controller!;

  for (const operation of operations) {
    for (const interactive of [false, true]) {
      it(`takes the legal steps of ${interactive ? 'an interactive' : 'a'} ${operation}, and names them when it refuses others`, async () => {
        const { backupId } = (
          await backend.controllers.createController({
            ...(operation === 'backup' ? backup() : restore()),
            interactive,
          })
        ).controller!;
        for (const from of all) {
          const legal: Status[] = nextStatuses({ operation, interactive }, from as Statuses);
          await put(backend.database, backupId, from);
          await Promise.all(
            all
              .filter(to => !legal.includes(to))
              .map(async to => {
                const { preconditions } = await refused(step(backupId, from, to), ILLEGAL);
                assert.deepEqual(
                  preconditions?.violations.map(({ type, subject }) => [type, subject]),
                  legal.map(status => ['NEXT_STATUS', nameOf(status)]),
                );
              }),
          );
          for (const to of legal) {
            assert.equal((await step(backupId, from, to)).status, to);
            if (to !== legal.at(-1)) await put(backend.database, backupId, from);
          }
        }
      });
    }
  }

  it('goes the whole way of a backup', async () => {
    const { backupId } = await create({ interactive: true });
    const way = [100, 300, 400, 500, 700, 800, 1000] as Status[];
    for (const [i, to] of way.slice(1).entries()) {
      assert.equal((await step(backupId, way[i]!, to)).status, to);
      assert.equal((await rowOf(backend.database, backupId))['status'], to);
    }
  });

  it('refuses when the controller is in another status, and says in which', async () => {
    const { backupId } = await create({ status: Status.AWAITING });
    for (const [from, to] of [
      [Status.CREATED, Status.PLANNED],
      [Status.EXECUTING, Status.FINISHED_OK],
      [Status.FINISHED_OK, Status.CREATED],
    ] as const) {
      const { info } = await refused(step(backupId, from, to), CHANGED);
      assert.equal(info!.metadata['status'], 'AWAITING');
    }
    assert.equal((await rowOf(backend.database, backupId))['revision'], 1);
  });

  it('lets exactly one of many win that take the same step at once', async () => {
    const { backupId } = await create({ status: Status.AWAITING });
    const calls = Array.from({ length: 20 }, () => step(backupId, Status.AWAITING, Status.EXECUTING));
    assert.equal(await winners(calls, CHANGED), 1);
    assert.equal((await rowOf(backend.database, backupId))['revision'], 2);
  });

  it('sets progress to 1 and empties the payload at success, but keeps the checksum', async () => {
    const { backupId, checksum } = await create({ status: Status.EXECUTING, payload: Buffer.from('state') });
    const done = await step(backupId, Status.EXECUTING, Status.FINISHED_OK);
    assert.deepEqual([done.progress, done.checksum], [1, checksum]);
    const row = await rowOf(backend.database, backupId);
    assert.deepEqual([row['progress'], row['controller'], row['checksum']], ['1.00000000000000', '', checksum]);
    const { controller } = await backend.controllers.getController({ backupId, view: ControllerView.FULL });
    assert.deepEqual([controller!.progress, controller!.payload.length], [1, 0]);
  });

  it('keeps progress and payload at failure', async () => {
    const { backupId } = await create({ status: Status.EXECUTING, payload: Buffer.from('state') });
    await backend.controllers.updateController({
      backupId,
      controller: { progress: 0.25 },
      updateMask: { paths: ['progress'] },
    });
    assert.equal((await step(backupId, Status.EXECUTING, Status.FINISHED_ERR)).progress, 0.25);
    const { controller } = await backend.controllers.getController({ backupId, view: ControllerView.FULL });
    assert.equal(Buffer.from(controller!.payload).toString(), 'state');
  });

  it('changes nothing else on the way', async () => {
    const before = await create({ status: Status.AWAITING, payload: Buffer.from('state') });
    const after = await step(before.backupId, Status.AWAITING, Status.EXECUTING);
    const { status, etag, updateTime, startTime } = after;
    assert.deepEqual(after, { ...before, status, etag, updateTime, startTime });
    assert.deepEqual(startTime, updateTime);
    assert.notEqual(etag, before.etag);
    assert.ok(updateTime!.seconds >= before.updateTime!.seconds);
  });

  it('seals the log with its last id when the run finishes, and only then', async () => {
    for (const [to, lines] of [
      [Status.FINISHED_OK, 3],
      [Status.FINISHED_ERR, 2],
      [Status.FINISHED_ERR, 0],
    ] as const) {
      const { backupId } = await create({ status: Status.AWAITING });
      const entries = Array.from({ length: lines }, () => ({ level: LogLevel.INFO, message: 'x' }));
      if (lines > 0) await backend.logs.appendLogs({ backupId, entries });
      await step(backupId, Status.AWAITING, Status.EXECUTING);
      assert.equal((await headOf(backupId))?.['sealedid'] ?? null, null);
      await step(backupId, Status.EXECUTING, to);
      assert.deepEqual(await headOf(backupId), { lastid: `${lines}`, sealedid: `${lines}` });
    }
  });

  it('keeps how a run ended, and when it began and ended', async () => {
    for (const [to, outcome] of [
      [Status.FINISHED_OK, Outcome.SUCCEEDED],
      [Status.FINISHED_ERR, Outcome.FAILED],
    ] as const) {
      const { backupId } = await create({ status: Status.AWAITING });
      const { startTime } = await step(backupId, Status.AWAITING, Status.EXECUTING);
      const done = await step(backupId, Status.EXECUTING, to);
      assert.deepEqual([done.outcome, done.startTime, done.endTime], [outcome, startTime, done.updateTime]);
    }
    const { backupId } = await create();
    const { startTime, endTime } = await step(backupId, Status.CREATED, Status.FINISHED_ERR);
    assert.ok(!startTime && endTime);
  });

  it('takes no step of a run that a worker holds', async () => {
    const lease = await held(backend, { claim: { worker: 'worker 7' } });
    const before = await rowOf(backend.database, lease.backupId);
    for (const to of [Status.FINISHED_OK, Status.FINISHED_ERR]) {
      const leased = { code: 'FAILED_PRECONDITION', reason: 'CONTROLLER_LEASED' } as const;
      const { info } = await refused(step(lease.backupId, Status.EXECUTING, to), leased);
      assert.equal(info!.metadata['worker'], 'worker 7');
    }
    assert.deepEqual(await rowOf(backend.database, lease.backupId), before);
    await backend.controllers.releaseController(lease);
    await step(lease.backupId, Status.AWAITING, Status.EXECUTING);
  });

  it('takes no step with a stale etag', async () => {
    const { backupId, etag } = await create();
    const planned = await step(backupId, Status.CREATED, Status.PLANNED, etag);
    const stale = step(backupId, Status.PLANNED, Status.CONFIGURED, etag);
    await refused(stale, { code: 'ABORTED', reason: 'ETAG_MISMATCH' });
    assert.equal((await rowOf(backend.database, backupId))['status'], 300);
    assert.equal((await step(backupId, Status.PLANNED, Status.CONFIGURED, planned.etag)).status, Status.CONFIGURED);
  });

  it('says when there is no such controller', async () => {
    const call = step(newId(), Status.CREATED, Status.PLANNED);
    await refused(call, { code: 'NOT_FOUND', reason: 'CONTROLLER_NOT_FOUND' });
  });

  async function headOf(backupId: string) {
    return (
      await backend.database.query('select lastid, sealedid from backup_log_heads where backupid = $1', [backupId])
    )[0];
  }
});

function nameOf(status: Status): string {
  return StatusSchema.value[status]!.localName;
}
