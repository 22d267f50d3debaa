import { strict as assert } from 'node:assert';
import { randomUUID } from 'node:crypto';
import { ControllerView, Outcome, Status } from '../../../src/gen/backup/v1/controller_pb.ts';
import { type Backend, startBackend } from '../../support/backend.ts';
import { eventually } from '../../support/eventually.ts';
import { refused } from '../../support/status.ts';
import { Subscriber } from '../../support/subscriber.ts';
import { append, newBackupId } from '../../support/writing.ts';
import { put } from '../controller/requests.ts';
import { claimed, everything, get, headOf, held, logOf, now, onlyWoken, queued } from './work.ts';

describe('ControllerService.CancelController', () => {
  let backend: Backend;
  before(async () => {
    backend = await startBackend({ replicas: 2, settings: onlyWoken });
  });
  after(() => backend[Symbol.asyncDispose]());

  const cancel = async (backupId: string, more: { reason?: string; etag?: string; requestId?: string } = {}) =>
    (await backend.controllers.cancelController({ backupId, ...more })).controller!;

  it('ends a run that nobody holds at once, whatever unfinished status it is in', async () => {
    for (const status of [100, 200, 300, 400, 500, 600, 700, 800] as Status[]) {
      const { backupId } = await queued(backend, { payload: Buffer.from('state'), format: 'cancelled' });
      await put(backend.database, backupId, status);
      await append(backend, backupId, ['a']);
      await using subscriber = new Subscriber(backend.replicas[1]!, { backupIds: [backupId], untilFinished: true });
      await subscriber.told('caughtUp');
      const start = BigInt(Math.floor(await now(backend.database)));
      const run = await cancel(backupId, status > 300 ? { reason: 'not needed' } : {});
      assert.deepEqual([run.status, run.outcome, run.progress], [Status.FINISHED_ERR, Outcome.CANCELLED, 0]);
      assert.ok(run.endTime!.seconds >= start && run.endTime!.seconds === run.updateTime!.seconds);
      assert.equal(run.cancelRequestTime, undefined);
      const why = status > 300 ? ': not needed' : '';
      assert.deepEqual(await logOf(backend.database, backupId), ['0 40 a', `0 30 Cancelled${why}`]);
      assert.deepEqual(await headOf(backend.database, backupId), ['2', '2']);
      assert.equal(await subscriber.done, undefined);
      assert.deepEqual(subscriber.history.messages(), ['a', `Cancelled${why}`]);
      const full = await backend.controllers.getController({ backupId, view: ControllerView.FULL });
      assert.equal(Buffer.from(full.controller!.payload).toString(), 'state');
    }
    assert.deepEqual(await claimed(backend, { filter: { format: 'cancelled' } }), []);
  });

  it('asks the worker of a run that is held, and says so in the log', async () => {
    const lease = await held(backend);
    const before = await get(backend, lease.backupId);
    const run = await cancel(lease.backupId, { reason: 'not needed' });
    const { cancelRequestTime, etag, updateTime, ...same } = run;
    assert.deepEqual({ ...same, etag: before.etag, updateTime: before.updateTime }, before);
    assert.notEqual(etag, before.etag);
    assert.deepEqual(cancelRequestTime, updateTime);
    assert.deepEqual(await logOf(backend.database, lease.backupId), ['0 40 Asked to be cancelled: not needed']);
    assert.deepEqual(await headOf(backend.database, lease.backupId), ['1', null]);
  });

  it('changes nothing when it is asked for again', async () => {
    const lease = await held(backend);
    await cancel(lease.backupId);
    // As if it had been a while ago.
    await backend.database.query(
      'update backup_controllers set updated_at = 1000, cancelrequestedat = 1000 where backupid = $1',
      [lease.backupId],
    );
    const before = await everything(backend.database);
    assert.equal((await cancel(lease.backupId, { reason: 'again' })).cancelRequestTime!.seconds, 1000n);
    assert.deepEqual(await everything(backend.database), before);
  });

  it('takes the run away at the end of the lease, however often the worker reports', async () => {
    const lease = await held(backend, { claim: { leaseDuration: { seconds: 1n } }, run: { maxAttempts: 5 } });
    await cancel(lease.backupId);
    const { expireTime } = (await get(backend, lease.backupId)).lease!;
    await eventually(async () => {
      const { results } = await backend.controllers.reportProgress({ reports: [lease] });
      assert.ok(results[0]!.error);
    });
    const { status, outcome, endTime } = await get(backend, lease.backupId);
    assert.deepEqual([status, outcome], [Status.FINISHED_ERR, Outcome.CANCELLED]);
    assert.ok(endTime!.seconds - expireTime!.seconds <= 2n);
  });

  it('is refused when the run has finished, has changed, or is not there', async () => {
    for (const status of [Status.FINISHED_ERR, Status.FINISHED_OK]) {
      const { backupId } = await queued(backend);
      await put(backend.database, backupId, status);
      await refused(cancel(backupId), { code: 'FAILED_PRECONDITION', reason: 'CONTROLLER_FINISHED' });
      assert.deepEqual(await logOf(backend.database, backupId), []);
    }
    const { backupId, etag } = await queued(backend);
    await append(backend, backupId, ['a']);
    const change = { backupId, controller: { itemId: 5n }, updateMask: { paths: ['item_id'] } };
    const { controller } = await backend.controllers.updateController(change);
    await refused(cancel(backupId, { etag }), { code: 'ABORTED', reason: 'ETAG_MISMATCH' });
    assert.equal((await get(backend, backupId)).status, Status.AWAITING);
    assert.equal((await cancel(backupId, { etag: controller!.etag })).outcome, Outcome.CANCELLED);
    await refused(cancel(newBackupId()), { code: 'NOT_FOUND', reason: 'CONTROLLER_NOT_FOUND' });
  });

  it('happens once for a request id', async () => {
    const { backupId } = await queued(backend);
    const request = { backupId, reason: 'x', requestId: randomUUID() };
    const answers = await Promise.all(
      [0, 1, 0, 1].map(i => backend.replicas[i]!.controllers.cancelController(request)),
    );
    for (const answer of answers) assert.deepEqual(answer, answers[0]);
    assert.equal((await logOf(backend.database, backupId)).length, 1);
  });

  it('that meets a claim either ends the run or asks the worker that has it', async () => {
    const runs = await Promise.all(Array.from({ length: 30 }, () => queued(backend, { format: 'met' })));
    const claims = Array.from({ length: 30 }, (_, i) =>
      claimed(backend.replicas[i % 2]!, { filter: { format: 'met' } }),
    );
    await Promise.all(runs.map(({ backupId }) => cancel(backupId)));
    const given = new Set((await Promise.all(claims)).flat().map(({ controller }) => controller!.backupId));
    for (const { backupId } of runs) {
      const { status, outcome, cancelRequestTime, lease } = await get(backend, backupId);
      if (given.has(backupId)) {
        assert.deepEqual([status, lease?.worker, cancelRequestTime !== undefined], [Status.EXECUTING, 'w', true]);
      } else assert.deepEqual([status, outcome], [Status.FINISHED_ERR, Outcome.CANCELLED]);
    }
  });
});
