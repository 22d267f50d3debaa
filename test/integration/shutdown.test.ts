import { strict as assert } from 'node:assert';
import { status } from '@grpc/grpc-js';
import { HealthCheckResponse_ServingStatus as ServingStatus } from '../../src/gen/health/v1/health_pb.ts';
import { startBackend } from '../support/backend.ts';
import { stall } from '../support/stalled.ts';
import { Subscriber } from '../support/subscriber.ts';
import { append, fill, newBackupId, writeAll } from '../support/writing.ts';

describe('a shutdown', () => {
  it('ends within its limit with stalled, idle and busy streams open, and every healthy one gets a token', async () => {
    await using backend = await startBackend({ replicas: 2, settings: { SHUTDOWN_GRACE: '1s' } });
    const [leaving, staying] = backend.replicas;
    const [large, quiet, busy] = [newBackupId(), newBackupId(), newBackupId()];
    await fill(backend.database, large, 50_000);
    const stalled = await Promise.all(Array.from({ length: 10 }, () => stall(leaving!.address, large)));
    const idle = Array.from({ length: 10 }, () => new Subscriber(leaving!, { backupIds: [quiet], follow: true }));
    const active = Array.from({ length: 10 }, () => new Subscriber(leaving!, { backupIds: [busy], follow: true }));
    for (const subscriber of idle) await subscriber.told('caughtUp');
    const writing = writeAll([staying!], busy, 'line', 200);
    for (const subscriber of active) await subscriber.received(10);
    const began = performance.now();
    await leaving![Symbol.asyncDispose]();
    assert.ok(performance.now() - began < 25_000);
    for (const subscriber of [...idle, ...active]) {
      assert.equal((await subscriber.done)?.code, status.UNAVAILABLE);
      assert.equal(subscriber.history.end, 'DRAINING');
    }
    await writing;
    for (const subscriber of active) {
      const resumed = subscriber.resume(staying!);
      await resumed.received(200);
      await resumed.cancel();
    }
    assert.deepEqual([leaving!.app.admission.streams, leaving!.app.tails.size.readers], [0, 0]);
    for (const session of stalled) session.destroy();
  });

  it('says that it will come for a while, in which everything is served as before', async () => {
    await using backend = await startBackend({ replicas: 2, settings: { SHUTDOWN_DELAY: '1s' } });
    const leaving = backend.replicas[1]!;
    const backupId = newBackupId();
    const subscriber = new Subscriber(leaving, { backupIds: [backupId], follow: true });
    await subscriber.told('caughtUp');
    const states = leaving.health.watch({})[Symbol.asyncIterator]();
    assert.equal((await states.next()).value.status, ServingStatus.SERVING);
    const began = performance.now();
    const gone = leaving[Symbol.asyncDispose]();
    assert.equal((await states.next()).value.status, ServingStatus.NOT_SERVING);
    await append(leaving, backupId, ['one that was sent before anybody knew']);
    await subscriber.received(1);
    assert.deepEqual(subscriber.history.all('end'), []);
    await gone;
    const took = performance.now() - began;
    assert.ok(took > 990 && took < 20_000, `${took} ms`);
    assert.equal(subscriber.history.end, 'DRAINING');
  });
});
