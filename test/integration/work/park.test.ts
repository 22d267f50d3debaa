import { strict as assert } from 'node:assert';
import { randomUUID } from 'node:crypto';
import { Execution, Purpose, Status } from '../../../src/gen/backup/v1/controller_pb.ts';
import { acceleratorsOff, type Backend, type Replica, startBackend } from '../../support/backend.ts';
import { eventually } from '../../support/eventually.ts';
import { endsWith } from '../../support/status.ts';
import { type Asked, claimed, claimedAgain, expire, get, held, now, onlyWoken, queued } from './work.ts';

const wait = { seconds: 20n };

describe('A claim that waits', () => {
  let backend: Backend;
  before(async () => {
    backend = await startBackend({ replicas: 2, settings: onlyWoken });
  });
  after(() => backend[Symbol.asyncDispose]());

  /** A claim that finds nothing and waits, on the second replica; who makes work does so on the first. */
  async function parked(more: Asked = {}): Promise<() => Promise<string[]>> {
    const other = backend.replicas[1]!;
    const claiming = claimed(other, { wait, ...more });
    await waiting(other, 1);
    // Who comes after it has been answered, so it has looked, too: only by being woken does it look again.
    for (let i = 0; i < 2; i++) assert.deepEqual(await claimed(other, { filter: { format: 'none' } }), []);
    return async () => (await claiming).map(({ controller }) => controller!.backupId);
  }

  const waiting = ({ app }: Replica, count: number) =>
    eventually(() => assert.equal(acceleratorsOff ? app.admission.calls : app.doorbell.subscribers, count));

  it('is given a run that is created', async () => {
    const given = await parked();
    const { backupId } = await queued(backend);
    assert.deepEqual(await given(), [backupId]);
  });

  it('is given a run that is tried again', async () => {
    const { backupId, leaseToken } = await held(backend);
    const finish = { backupId, leaseToken, outcome: 3, reason: 'x' } as const;
    await backend.controllers.finishControllers({ finishes: [finish] });
    const given = await parked();
    await backend.controllers.retryController({ backupId });
    assert.deepEqual(await given(), [backupId]);
  });

  it('is given a run that another worker has released', async () => {
    const lease = await held(backend);
    const given = await parked();
    await backend.controllers.releaseController(lease);
    assert.deepEqual(await given(), [lease.backupId]);
  });

  it('is given a run that has come to AWAITING, or is delayed from now on', async () => {
    const { backupId } = await queued(backend, { status: Status.CONFIGURED });
    let given = await parked();
    await backend.controllers.transitionController({ backupId, from: Status.CONFIGURED, to: Status.AWAITING });
    assert.deepEqual(await given(), [backupId]);
    const run = await queued(backend, { execution: Execution.IMMEDIATE, purpose: Purpose.GENERAL });
    given = await parked();
    await backend.controllers.updateController({
      backupId: run.backupId,
      controller: { execution: Execution.DELAYED },
      updateMask: { paths: ['execution'] },
    });
    assert.deepEqual(await given(), [run.backupId]);
  });

  it('is given a run whose worker was lost and that has attempts left', async () => {
    const { backupId } = await held(backend, { run: { maxAttempts: 2 } });
    const given = await parked();
    await expire(backend.database, backupId);
    assert.deepEqual(await given(), [backupId]);
    assert.equal((await get(backend, backupId)).attempt, 2);
  });

  it('is given a run when its execution time comes, without having been woken', async () => {
    const seconds = BigInt(Math.floor(await now(backend.database))) + 2n;
    const { backupId } = await queued(backend, { executionTime: { seconds } });
    const given = await parked();
    assert.deepEqual(await given(), [backupId]);
    const late = (await now(backend.database)) - Number(seconds);
    assert.ok(late >= 0 && late < 1, `${late} s late`);
  });

  it('is given what it wishes only, and with a request id the same again', async () => {
    const wish = { filter: { format: 'imscc1' }, requestId: randomUUID() };
    const given = await parked(wish);
    const other = await queued(backend);
    const { backupId } = await queued(backend, { format: 'imscc1' });
    assert.deepEqual(await given(), [backupId]);
    await claimedAgain(backend, other.backupId, { wait });
    const again = await claimed(backend, { wait, ...wish });
    assert.deepEqual(
      again.map(({ controller }) => controller!.backupId),
      [backupId],
    );
  });

  it('is answered empty when its time is over, and not before', async () => {
    const start = performance.now();
    assert.deepEqual(await claimed(backend, { wait: { seconds: 0n, nanos: 300_000_000 } }), []);
    const took = performance.now() - start;
    assert.ok(took >= 299 && took < 20_000, `${took} ms`);
  });

  it('is answered empty, and not with DEADLINE_EXCEEDED, when its deadline comes before that', async () => {
    for (const requestId of ['', randomUUID()]) {
      const request = { worker: 'w', wait: { seconds: 300n }, requestId };
      // The answer is sent a second before the deadline: a machine may be too slow for that, but not every time.
      const none = await eventually(() => backend.controllers.claimControllers(request, { timeoutMs: 10_000 }));
      assert.deepEqual(none.claimed, []);
    }
  });

  it('leaves nothing behind, whether it is cancelled or was answered', async () => {
    const cancel = new AbortController();
    const options = { signal: cancel.signal };
    const given = Array.from({ length: 20 }, () => claimed(backend, { wait: { seconds: 3n } }));
    const cancelled = Array.from({ length: 20 }, () =>
      endsWith(backend.controllers.claimControllers({ worker: 'w', wait }, options), 'CANCELLED'),
    );
    await waiting(backend, 40);
    await Promise.all(given);
    cancel.abort();
    await Promise.all(cancelled);
    await eventually(() => {
      for (const { app } of backend.replicas) assert.deepEqual([app.doorbell.subscribers, app.admission.calls], [0, 0]);
    });
    const { backupId } = await queued(backend);
    assert.equal((await get(backend, backupId)).attempt, 0);
    await backend.controllers.deleteController({ backupId });
  });

  it('is one of two hundred, and one of them is given the only run', async () => {
    const cancel = new AbortController();
    const claims = Array.from({ length: 200 }, (_, i) =>
      backend.replicas[i % 2]!.controllers.claimControllers({ worker: `w${i}`, wait }, { signal: cancel.signal }),
    );
    for (const replica of backend.replicas) await waiting(replica, 100);
    const { backupId } = await queued(backend);
    const first = await Promise.race(claims);
    assert.equal(first.claimed[0]!.controller!.backupId, backupId);
    cancel.abort();
    const outcomes = await Promise.allSettled(claims);
    assert.equal(outcomes.filter(({ status }) => status === 'fulfilled').length, 1);
    await eventually(() => {
      for (const { app } of backend.replicas) assert.deepEqual([app.doorbell.subscribers, app.admission.calls], [0, 0]);
    });
    assert.equal((await get(backend, backupId)).attempt, 1);
  });

  it('may wait longer than a call may take', async () => {
    await using impatient = await startBackend({ settings: { ...onlyWoken, CALL_TIMEOUT: '2s' } });
    assert.deepEqual(await claimed(impatient, { wait: { seconds: 3n } }), []);
    const claiming = claimed(impatient, { wait });
    const seconds = BigInt(Math.floor(await now(impatient.database))) + 4n;
    const { backupId } = await queued(impatient, { executionTime: { seconds } });
    assert.equal((await claiming)[0]!.controller!.backupId, backupId);
  });

  it('is answered empty when the replica shuts down', async () => {
    await using draining = await startBackend({ replicas: 2, settings: { ...onlyWoken, SHUTDOWN_GRACE: '60s' } });
    const claims = [claimed(draining, { wait }), claimed(draining, { wait, requestId: randomUUID() })];
    await waiting(draining, 2);
    const start = performance.now();
    await draining.replicas[0]![Symbol.asyncDispose]();
    assert.deepEqual(await Promise.all(claims), [[], []]);
    assert.ok(performance.now() - start < 15_000, 'it was not told, the grace was over');
  });
});
