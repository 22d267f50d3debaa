import { strict as assert } from 'node:assert';
import { randomUUID } from 'node:crypto';
import { ControllerView, Outcome, Status } from '../../../src/gen/backup/v1/controller_pb.ts';
import { type Backend, startBackend } from '../../support/backend.ts';
import { refused, winners } from '../../support/status.ts';
import { claimed, claimedAgain, get, headOf, held, LEASE_LOST, logOf, queued } from './work.ts';

describe('ControllerService.ReleaseController', () => {
  let backend: Backend;
  before(async () => {
    backend = await startBackend({ replicas: 2 });
  });
  after(() => backend[Symbol.asyncDispose]());

  it('puts the run back into the queue at once, and uses up no attempt', async () => {
    const lease = await held(backend, { run: { format: 'back', payload: Buffer.from('state') } });
    await backend.controllers.reportProgress({ reports: [{ ...lease, progress: 0.5 }] });
    const before = await get(backend, lease.backupId);
    const { controller } = await backend.controllers.releaseController(lease);
    const { lease: _, ...same } = before;
    const { etag, updateTime } = controller!;
    assert.deepEqual(controller, { ...same, status: Status.AWAITING, etag, updateTime });
    assert.notEqual(etag, before.etag);
    assert.deepEqual([controller!.attempt, controller!.lostAttempts, controller!.endTime], [1, 0, undefined]);
    assert.deepEqual(await get(backend, lease.backupId), controller);
    assert.equal(await headOf(backend.database, lease.backupId), undefined);
    const full = await backend.controllers.getController({ backupId: lease.backupId, view: ControllerView.FULL });
    assert.equal(Buffer.from(full.controller!.payload).toString(), 'state');
    await claimedAgain(backend, lease.backupId, { filter: { format: 'back' } });
  });

  it('puts it back for later, or at once although it had a time', async () => {
    const filter = { format: 'time' };
    const lease = await held(backend, { run: { ...filter, executionTime: { seconds: 5n } } });
    const executionTime = { seconds: 4_000_000_000n, nanos: 999_999_999 };
    const later = await backend.controllers.releaseController({ ...lease, executionTime });
    assert.deepEqual(
      [later.controller!.executionTime!.seconds, later.controller!.executionTime!.nanos],
      [4_000_000_000n, 0],
    );
    assert.deepEqual(await claimed(backend, { filter }), []);
    await backend.database.query('update backup_controllers set executiontime = 5 where backupid = $1', [
      lease.backupId,
    ]);
    const again = await claimedAgain(backend, lease.backupId, { filter });
    const now = await backend.controllers.releaseController(again);
    assert.equal(now.controller!.executionTime, undefined);
    await claimedAgain(backend, lease.backupId, { filter });
  });

  it('cancels the run when its cancellation was asked for', async () => {
    const lease = await held(backend, { run: { maxAttempts: 5 } });
    await backend.controllers.cancelController({ backupId: lease.backupId });
    const executionTime = { seconds: 4_000_000_000n };
    const { controller } = await backend.controllers.releaseController({ ...lease, executionTime });
    assert.deepEqual([controller!.status, controller!.outcome], [Status.FINISHED_ERR, Outcome.CANCELLED]);
    assert.ok(controller!.endTime && !controller!.lease);
    assert.deepEqual(await logOf(backend.database, lease.backupId), ['0 40 Asked to be cancelled', '1 30 Cancelled']);
    assert.deepEqual(await headOf(backend.database, lease.backupId), ['2', '2']);
  });

  it('is refused without the lease', async () => {
    const { backupId } = await queued(backend);
    await refused(backend.controllers.releaseController({ backupId, leaseToken: randomUUID() }), LEASE_LOST);
    const lease = await held(backend);
    await refused(backend.controllers.releaseController({ ...lease, leaseToken: randomUUID() }), LEASE_LOST);
    assert.equal((await get(backend, lease.backupId)).status, Status.EXECUTING);
  });

  it('happens once, and for a request id gives the first answer again', async () => {
    const filter = { format: 'once' };
    const lease = await held(backend, { run: filter });
    const calls = Array.from({ length: 10 }, (_, i) => backend.replicas[i % 2]!.controllers.releaseController(lease));
    assert.equal(await winners(calls, LEASE_LOST), 1);
    const request = { ...(await claimedAgain(backend, lease.backupId, { filter })), requestId: randomUUID() };
    const first = await backend.controllers.releaseController(request);
    await claimedAgain(backend, lease.backupId, { filter });
    assert.deepEqual(await backend.replicas[1]!.controllers.releaseController(request), first);
    assert.equal((await get(backend, lease.backupId)).status, Status.EXECUTING);
  });

  it('takes the token in capitals, too', async () => {
    const lease = await held(backend);
    const leaseToken = lease.leaseToken.toUpperCase();
    const { controller } = await backend.controllers.releaseController({ ...lease, leaseToken });
    assert.equal(controller!.lease, undefined);
  });
});
