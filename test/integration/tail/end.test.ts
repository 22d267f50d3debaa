import { strict as assert } from 'node:assert';
import { status } from '@grpc/grpc-js';
import { LogLevel } from '../../../src/gen/backup/v1/entry_pb.ts';
import { startBackend } from '../../support/backend.ts';
import { eventually } from '../../support/eventually.ts';
import { refused } from '../../support/status.ts';
import { Subscriber } from '../../support/subscriber.ts';
import { append, finish, newBackup, newBackupId, truthOf, writeAll } from '../../support/writing.ts';

describe('TailLogs, how it ends', () => {
  it('ends at the seal when everything up to it was delivered, on the other replica too', async () => {
    await using backend = await startBackend({ replicas: 2 });
    const backupId = await newBackup(backend);
    const subscribers = backend.replicas.map(
      replica => new Subscriber(replica, { backupIds: [backupId], untilFinished: true }),
    );
    await writeAll(backend.replicas, backupId, 'line', 50, 3);
    await finish(backend, backupId);
    await append(backend, backupId, ['late: kept, but behind the seal']);
    for (const subscriber of subscribers) {
      assert.equal(await subscriber.done, undefined);
      assert.equal(subscriber.history.end, 'SEALED');
      const truth = await truthOf(backend.database, [backupId]);
      assert.equal(truth.length, 151);
      subscriber.history.complete(truth.slice(0, 150));
      const states = subscriber.history.all('state');
      assert.deepEqual([states.at(-1)!.status, states.at(-1)!.progress], [1000, 1]);
    }
    const after = new Subscriber(backend, { backupIds: [backupId], untilFinished: true });
    await after.done;
    assert.equal(after.history.entries.length, 150);
    const followed = new Subscriber(backend, { backupIds: [backupId] });
    await followed.done;
    assert.equal(followed.history.entries.length, 151);
    // Who has read on behind the seal and then asks for the end only, is there.
    const start = { case: 'resumeToken', value: followed.history.token } as const;
    const beyond = new Subscriber(backend, { backupIds: [backupId], start, untilFinished: true });
    assert.equal(await beyond.done, undefined);
    assert.equal(beyond.history.end, 'SEALED');
  });

  it('tells the last status only behind the last line, however far behind the subscriber is', async () => {
    await using backend = await startBackend();
    const backupId = await newBackup(backend);
    await using subscriber = new Subscriber(backend, { backupIds: [backupId], untilFinished: true });
    await subscriber.told('caughtUp');
    for (let i = 0; i < 2; i++) await append(backend, backupId, Array(1000).fill('x'));
    await finish(backend, backupId);
    const late = new Subscriber(backend, { backupIds: [backupId], untilFinished: true });
    for (const { done, history } of [subscriber, late]) {
      await done;
      const lastLine = history.events.findLastIndex(event => event.case === 'entries');
      const finished = history.events.findIndex(event => event.case === 'state' && event.value.status >= 900);
      assert.equal(history.entries.length, 2000);
      assert.ok(finished > lastLine, `${finished} after ${lastLine}`);
    }
  });

  it('ends when all of several backups have finished, an empty one and one that failed among them', async () => {
    await using backend = await startBackend();
    const [busy, empty] = [await newBackup(backend), await newBackup(backend)];
    const subscriber = new Subscriber(backend, { backupIds: [busy, empty], untilFinished: true });
    await append(backend, busy, ['a']);
    await finish(backend, busy);
    await subscriber.told('entries');
    await backend.controllers.transitionController({ backupId: empty, from: 100, to: 900 });
    await subscriber.done;
    assert.equal(subscriber.history.end, 'SEALED');
    assert.deepEqual(subscriber.history.messages(), ['a']);
  });

  it('waits for a backup that does not exist yet', async () => {
    await using backend = await startBackend({ replicas: 2 });
    const backupId = newBackupId();
    const subscriber = new Subscriber(backend.replicas[1]!, { backupIds: [backupId], untilFinished: true });
    await subscriber.told('caughtUp');
    assert.deepEqual(subscriber.history.all('started')[0]!.heads[0]!.lastId, 0n);
    await append(backend, backupId, ['before the controller']);
    await newBackup(backend, backupId);
    await finish(backend, backupId);
    assert.equal(await subscriber.done, undefined);
    assert.deepEqual(subscriber.history.messages(), ['before the controller']);
  });

  it('ends when a backup is deleted, and names it', async () => {
    await using backend = await startBackend({ replicas: 2 });
    const [gone, stays] = [await newBackup(backend), await newBackup(backend)];
    await append(backend, gone, ['a']);
    const subscriber = new Subscriber(backend.replicas[1]!, { backupIds: [gone, stays], follow: true });
    await subscriber.told('caughtUp');
    await backend.controllers.deleteController({ backupId: gone });
    assert.equal(await subscriber.done, undefined);
    assert.equal(subscriber.history.end, 'DELETED');
    assert.equal(subscriber.history.all('end')[0]!.backupId, gone);
    // The token goes on for the one that is left, and for the one that is gone says that it is gone.
    const token = { case: 'resumeToken', value: subscriber.history.token } as const;
    const rest = new Subscriber(backend, { backupIds: [stays], start: token });
    await rest.done;
    assert.equal(rest.history.end, 'NOT_FOLLOWING');
    const again = new Subscriber(backend, { backupIds: [gone], start: token });
    await again.done;
    assert.equal(again.history.end, 'DELETED');
  });

  it('without following, delivers what was there when it began although more keeps coming', async () => {
    await using backend = await startBackend();
    const backupId = newBackupId();
    for (let i = 0; i < 5; i++) await append(backend, backupId, Array(1000).fill('old'));
    const writing = writeAll([backend], backupId, 'new', 300);
    const subscriber = new Subscriber(backend, { backupIds: [backupId] });
    assert.equal(await subscriber.done, undefined);
    assert.equal(BigInt(subscriber.history.entries.length), subscriber.history.all('started')[0]!.heads[0]!.lastId);
    await writing;
  });

  it('ends by age, with a token that continues', async () => {
    await using backend = await startBackend({ settings: { TAIL_MAX_AGE: '100ms' } });
    const backupId = newBackupId();
    await append(backend, backupId, ['a']);
    let subscriber = new Subscriber(backend, { backupIds: [backupId], follow: true });
    for (let i = 0; i < 3; i++) {
      assert.equal(await subscriber.done, undefined);
      assert.equal(subscriber.history.end, 'MAX_AGE');
      await append(backend, backupId, ['b']);
      subscriber = subscriber.resume(backend);
    }
    await subscriber.received(4);
    await subscriber.cancel();
    subscriber.history.complete(await truthOf(backend.database, [backupId]));
  });

  it('when the replica shuts down says so, with a token, and closes with UNAVAILABLE', async () => {
    await using backend = await startBackend({ replicas: 2 });
    const backupId = newBackupId();
    await append(backend, backupId, ['a']);
    const subscriber = new Subscriber(backend, { backupIds: [backupId], follow: true });
    await subscriber.told('caughtUp');
    await backend.replicas[0]![Symbol.asyncDispose]();
    const error = await subscriber.done;
    assert.equal(error?.code, status.UNAVAILABLE);
    await refused(Promise.reject(error), { code: 'UNAVAILABLE', reason: 'DRAINING' });
    assert.equal(subscriber.history.end, 'DRAINING');
    const other = backend.replicas[1]!;
    const resumed = subscriber.resume(other);
    await append(other, backupId, ['b']);
    await resumed.received(2);
    await resumed.cancel();
    assert.deepEqual(resumed.history.messages(), ['a', 'b']);
  });

  it('ends on cancel and on the deadline, and leaves nothing behind', async () => {
    await using backend = await startBackend();
    const backupId = newBackupId();
    const patient = Array.from({ length: 20 }, () => new Subscriber(backend, { backupIds: [backupId], follow: true }));
    const hasty = Array.from(
      { length: 20 },
      () => new Subscriber(backend, { backupIds: [backupId], follow: true }, undefined, 2000),
    );
    for (const subscriber of [...patient, ...hasty]) await subscriber.told('caughtUp');
    assert.equal(backend.app.admission.streams, 40);
    assert.equal(backend.app.tails.size.readers, 40);
    for (const subscriber of hasty) assert.equal((await subscriber.done)?.code, status.DEADLINE_EXCEEDED);
    for (const subscriber of patient) await subscriber.cancel();
    await eventually(() => {
      assert.equal(backend.app.admission.streams, 0);
      assert.equal(backend.app.admission.calls, 0);
      assert.equal(backend.app.tails.size.readers, 0);
    });
  });

  it('refuses streams above the limits of a connection and of the replica', async () => {
    await using backend = await startBackend({ settings: { MAX_STREAMS_PER_CONNECTION: '3' } });
    const request = { backupIds: [newBackupId()], follow: true, maxLevel: LogLevel.DEBUG };
    const open = Array.from({ length: 3 }, () => new Subscriber(backend, request));
    for (const subscriber of open) await subscriber.told('started');
    const one = new Subscriber(backend, request);
    await refused(one.over(), { code: 'RESOURCE_EXHAUSTED', reason: 'TOO_MANY_STREAMS' });
    await backend.controllers.listControllers({});
    for (const subscriber of open) await subscriber.cancel();
    await eventually(() => assert.equal(backend.app.admission.streams, 0));
    await using another = new Subscriber(backend, request);
    await another.told('started');
  });
});
