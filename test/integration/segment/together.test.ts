import assert from 'node:assert/strict';
import { Status } from '../../../src/gen/backup/v1/controller_pb.ts';
import { type Backend, startBackend, startReplica } from '../../support/backend.ts';
import { eventually } from '../../support/eventually.ts';
import { locked } from '../../support/locked.ts';
import { Subscriber } from '../../support/subscriber.ts';
import { countWaiting } from '../../support/waiting.ts';
import { append, finish, newBackup } from '../../support/writing.ts';
import { eager, type Folder, moveAll, movedAll, newFolder, silence, standing } from './moving.ts';

describe('Logs that are moved', () => {
  let folder: Folder;
  let backend: Backend;
  beforeEach(async () => {
    folder = newFolder();
    backend = await startBackend({ settings: { SEGMENT_STORE: folder.store, TAIL_POLL: '100ms' } });
  });
  afterEach(async () => {
    await backend[Symbol.asyncDispose]();
    folder[Symbol.dispose]();
  });

  const lines = (from: number, to: number) =>
    Array.from({ length: to - from + 1 }, (_, i) => `line ${from + i} ${'x'.repeat(60)}`);
  const finished = async (count: number) => {
    const backupId = await newBackup(backend);
    await append(backend, backupId, lines(1, count));
    await finish(backend, backupId);
    return backupId;
  };
  const listed = async (backupId: string) =>
    (await backend.logs.listLogs({ backupId, pageSize: 1000 })).entries.map(({ id, message }) => [Number(id), message]);
  const numbered = (count: number) => lines(1, count).map((line, i) => [i + 1, line]);

  it('are moved once by replicas that do so at the same time, and nothing is left in the store that is no part of a log', async () => {
    const logs: string[] = [];
    for (let i = 0; i < 25; i++) logs.push(await finished(40 + i));
    await silence(backend.database);
    const settings = eager(folder.store);
    await using one = await startReplica(backend.database.url, settings);
    await using other = await startReplica(backend.database.url, settings);
    await movedAll(backend.database);
    const keys = (await backend.database.query('select key from backup_log_segments')).map(({ key }) => key);
    const count = (of: 'segments' | 'entries') => one.app.segments.moved[of] + other.app.segments.moved[of];
    assert.equal(count('segments'), keys.length);
    assert.equal(
      count('entries'),
      logs.reduce((sum, _, i) => sum + 39 + i, 0),
    );
    assert.ok(one.app.segments.moved.segments > 0 && other.app.segments.moved.segments > 0, 'one did it alone');
    await eventually(() => assert.equal(folder.objects().length, keys.length));
    for (const [i, backupId] of logs.entries()) assert.deepEqual(await listed(backupId), numbered(40 + i));
  });

  it('are moved by one of two that have both written the object', async () => {
    const backupId = await finished(20);
    await silence(backend.database);
    const settings = eager(folder.store);
    {
      // Both stand before their transactions with what they have written.
      const lock = await locked(
        backend.database,
        `select from backup_log_heads where backupid = '${backupId}' for update`,
      );
      const waiting = () => countWaiting(backend.database);
      await using _one = await startReplica(backend.database.url, settings);
      await eventually(async () => assert.equal(await waiting(), 1));
      await backend.database.query('update backup_segment_removals set due_at = due_at - 900');
      await using _other = await startReplica(backend.database.url, { ...settings, SEGMENT_INTERVAL: '50ms' });
      await eventually(async () => assert.equal(await waiting(), 2));
      await lock[Symbol.asyncDispose]();
      await movedAll(backend.database);
      await eventually(() => assert.equal(folder.objects().length, 1));
    }
    assert.deepEqual(await standing(backend.database, backupId), [19, 1, 1]);
    assert.deepEqual(await listed(backupId), numbered(20));
  });

  it('keep what comes behind the seal in the table, and the numbers go on', async () => {
    const backupId = await finished(100);
    await append(backend, backupId, lines(101, 105));
    await moveAll(backend.database, eager(folder.store));
    assert.deepEqual((await standing(backend.database, backupId)).toSpliced(1, 1), [100, 5]);
    const { firstId } = await append(backend, backupId, lines(106, 108));
    assert.equal(firstId, 106n);
    assert.deepEqual(await listed(backupId), numbered(108));
    await using tail = new Subscriber(backend, { backupIds: [backupId], follow: true });
    await tail.received(108);
    await append(backend, backupId, lines(109, 109));
    await tail.received(109);
    assert.deepEqual(tail.history.messages(), lines(1, 109));
  });

  it('are moved further when their run was put back to work and has finished again', async () => {
    const backupId = await newBackup(backend);
    await append(backend, backupId, lines(1, 50));
    const steps = [
      Status.CREATED,
      Status.PLANNED,
      Status.CONFIGURED,
      Status.AWAITING,
      Status.EXECUTING,
      Status.FINISHED_ERR,
    ];
    const through = async (from: number) => {
      for (let i = from; i < steps.length - 1; i++) {
        await backend.controllers.transitionController({ backupId, from: steps[i]!, to: steps[i + 1]! });
      }
    };
    await through(0);
    await moveAll(backend.database, eager(folder.store));
    assert.equal((await standing(backend.database, backupId))[0], 49);
    await backend.controllers.retryController({ backupId });
    await append(backend, backupId, lines(51, 90));
    await silence(backend.database);
    await using mover = await startReplica(backend.database.url, eager(folder.store));
    const other = await finished(10);
    await silence(backend.database);
    await eventually(async () => assert.equal((await standing(backend.database, other))[0], 9));
    assert.equal((await standing(backend.database, backupId))[0], 49, 'moved although it is worked on');
    await through(3);
    const all = await listed(backupId);
    await silence(backend.database);
    await movedAll(backend.database);
    assert.equal((await standing(backend.database, backupId))[0], all.length - 1);
    assert.ok(all.length > 90, 'the retry has a line of its own');
    assert.deepEqual(await listed(backupId), all);
    assert.ok(mover.app.segments.failed === 0);
  });

  it('are delivered whole to a tail whose replica has not looked since they were empty', async () => {
    const settings = { SEGMENT_STORE: folder.store, NOTIFY: 'off', TAIL_POLL: '12s', TAIL_HEARTBEAT: '1h' };
    await using deaf = await startReplica(backend.database.url, settings);
    const backupId = await newBackup(backend);
    await using tail = new Subscriber(deaf, { backupIds: [backupId], follow: true });
    await tail.told('caughtUp');
    await append(backend, backupId, lines(1, 100));
    await finish(backend, backupId);
    await moveAll(backend.database, eager(folder.store));
    assert.equal(tail.history.entries.length, 0, 'it has looked');
    await append(backend, backupId, lines(101, 103));
    await tail.received(103, 30_000);
    assert.deepEqual(tail.history.messages(), lines(1, 103));
  });

  it('go on to tails that follow them, which stay where they are', async () => {
    const backupId = await finished(200);
    await using whole = new Subscriber(backend, { backupIds: [backupId], follow: true });
    await using wide = new Subscriber(backend, { everything: true, follow: true });
    await whole.received(200);
    await wide.received(200);
    const { token } = whole.history;
    await moveAll(backend.database, eager(folder.store));
    await append(backend, backupId, lines(201, 203));
    await whole.received(203);
    await wide.received(203);
    assert.deepEqual(whole.history.messages(), lines(1, 203));
    const start = { case: 'resumeToken', value: token } as const;
    await using resumed = new Subscriber(backend, { backupIds: [backupId], start });
    await resumed.over();
    assert.deepEqual(resumed.history.messages(), lines(201, 203));
  });
});
