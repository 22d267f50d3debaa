import { strict as assert } from 'node:assert';
import { randomUUID } from 'node:crypto';
import { status } from '@grpc/grpc-js';
import { pino } from 'pino';
import { connect, LogLevel, Operation, Purpose, RpcError, Status, Type } from '../../../src/client/main.ts';
import { startBackend, startReplica } from '../../support/backend.ts';
import { Cable } from '../../support/cable.ts';
import { createDatabase } from '../../support/database.ts';
import { eventually } from '../../support/eventually.ts';
import { locked } from '../../support/locked.ts';
import { append, newBackup, newBackupId } from '../../support/writing.ts';

const NEW = { operation: Operation.BACKUP, type: Type.COURSE, itemId: 1n, purpose: Purpose.GENERAL };

describe('Calls of the client library', () => {
  it('fail with all that the service says', async () => {
    await using backend = await startBackend();
    using service = connect(backend.address);
    const missing = await failure(service.controllers.getController({ backupId: newBackupId() }));
    assert.deepEqual(
      [missing.code, missing.reason, missing.fields, missing.retryAfterMs, missing.passing],
      [status.NOT_FOUND, 'CONTROLLER_NOT_FOUND', [], undefined, false],
    );
    assert.ok(missing.callId && missing.cause);
    const wrong = await failure(service.logs.appendLogs({ backupId: 'X', entries: [{ level: 7 as LogLevel }] }));
    assert.deepEqual(
      [wrong.reason, wrong.fields.map(({ field }) => field)],
      ['INVALID_FIELD', ['backup_id', 'entries[0].level']],
    );
    assert.ok(wrong.fields[0]!.description && wrong.message.startsWith('backup_id: '));
    const backupId = await newBackup(backend);
    const step = { backupId, from: Status.CREATED, to: Status.FINISHED_OK };
    const illegal = await failure(service.controllers.transitionController(step));
    assert.ok(illegal.preconditions.length > 0);
    const late = { backupId, from: Status.PLANNED, to: Status.CONFIGURED };
    const changed = await failure(service.controllers.transitionController(late));
    assert.deepEqual([changed.reason, changed.metadata['status']], ['STATUS_CHANGED', 'CREATED']);
    const refusedStream = failure(collect(service.logs.tailLogs({})));
    assert.equal((await refusedStream).reason, 'INVALID_FIELD');
    const upload = service.controllers.uploadPayload([{ part: { case: 'start', value: { backupId: newBackupId() } } }]);
    assert.equal((await failure(upload)).code, status.NOT_FOUND);
  });

  it('are made again while the service is away, and what changes something is done once', async () => {
    await using backend = await startBackend();
    await using cable = await Cable.start(new URL(`http://${backend.address}`));
    using service = connect(`127.0.0.1:${cable.port}`);
    await service.courses.summarizeCourses({});
    cable.latencyMs = 150;
    const backupId = newBackupId();
    // Cut when something was done and its answer is on its way, which on a busy machine it is not always any more.
    for (let i = 1; i <= 6; i++) {
      const entries = [{ level: LogLevel.INFO, message: `line ${i}` }];
      const appending = service.logs.appendLogs({ backupId, entries });
      await eventually(async () => {
        const { total } = await backend.logs.summarizeLogs({ backupId });
        assert.equal(total, BigInt(i));
      });
      cable.cut();
      assert.equal((await appending).firstId, BigInt(i));
    }
    assert.ok(cable.connections > 2, 'no call was made again');
    assert.equal((await backend.logs.summarizeLogs({ backupId })).total, 6n);
  });

  it('wait as long as the service says, and no longer than their deadline', async () => {
    await using backend = await startBackend({ settings: { APPEND_RATE_PER_CALLER: '2048' } });
    using service = connect(backend.address);
    const backupId = newBackupId();
    const line = { backupId, entries: [{ level: LogLevel.INFO, message: 'x'.repeat(2000) }] };
    for (let i = 0; i < 4; i++) await service.logs.appendLogs(line);
    assert.equal((await backend.logs.summarizeLogs({ backupId })).total, 4n);
    const hasty = failure(service.logs.appendLogs(line, { timeoutMs: 50 }));
    assert.equal((await hasty).code, status.RESOURCE_EXHAUSTED);
    assert.ok((await hasty).retryAfterMs! > 0);
  });

  it('are made once when they are told so, and then without a request id', async () => {
    using nobody = connect('127.0.0.1:1');
    const began = performance.now();
    const once = await failure(nobody.courses.summarizeCourses({}, { retry: false }));
    assert.equal(once.code, status.UNAVAILABLE);
    const long = await failure(nobody.courses.summarizeCourses({}, { timeoutMs: 1500 }));
    assert.equal(long.code, status.UNAVAILABLE);
    assert.ok(performance.now() - began > 700, 'it was not made again');
    await using backend = await startBackend();
    using service = connect(backend.address);
    const ids = async () => (await backend.database.query('select from backup_requests')).length;
    await service.controllers.createController(NEW, { retry: false });
    assert.equal(await ids(), 0);
    await service.controllers.createController(NEW);
    assert.equal(await ids(), 1);
    const requestId = randomUUID();
    const [one, again] = [
      await service.controllers.createController({ ...NEW, requestId }),
      await service.controllers.createController({ ...NEW, requestId }),
    ];
    assert.equal(one.controller!.backupId, again.controller!.backupId);
  });

  it('have a deadline, and end at once when they are aborted', async () => {
    await using backend = await startBackend();
    using service = connect({ address: backend.address, timeoutMs: 300 });
    const backupId = await newBackup(backend);
    const lock = `select from backup_controllers where backupid = '${backupId}' for update`;
    await using _lock = await locked(backend.database, lock);
    const change = { backupId, controller: { userId: 7n }, updateMask: { paths: ['user_id'] } };
    assert.equal((await failure(service.controllers.updateController(change))).code, status.DEADLINE_EXCEEDED);
    const stop = new AbortController();
    const calling = service.controllers.updateController(change, { timeoutMs: 30_000, signal: stop.signal });
    stop.abort(new Error('enough'));
    await assert.rejects(calling, { message: 'enough' });
    await assert.rejects(service.courses.summarizeCourses({}, { signal: stop.signal }), { message: 'enough' });
    using nobody = connect('127.0.0.1:1');
    const waiting = nobody.courses.summarizeCourses({}, { signal: AbortSignal.timeout(300) });
    await assert.rejects(waiting, { name: 'TimeoutError' });
  });

  it('find another replica when theirs is gone', async () => {
    await using backend = await startBackend({ replicas: 2 });
    const [first, second] = backend.replicas;
    using service = connect(`ipv4:${first!.address},${second!.address}`);
    await service.courses.summarizeCourses({});
    const calling = (async () => {
      for (let i = 0; i < 200; i++)
        await service.logs.appendLogs({ backupId: 'a'.repeat(32), entries: [{ level: LogLevel.INFO }] });
    })();
    await first!.app[Symbol.asyncDispose]();
    await calling;
    assert.equal((await second!.logs.summarizeLogs({ backupId: 'a'.repeat(32) })).total, 200n);
  });
});

describe('watch() of the client library', () => {
  it('tells what controllers are, over restarts, cuts and ends of streams, until they have finished', async () => {
    await using database = await createDatabase();
    const log = pino({ level: 'silent' });
    await using backend = await startReplica(database.url, { TAIL_MAX_AGE: '300ms', TAIL_POLL: '50ms' }, log);
    await using cable = await Cable.start(new URL(`http://${backend.address}`));
    using service = connect(`127.0.0.1:${cable.port}`);
    const backupIds = [await newBackup(backend), await newBackup(backend)];
    const why: string[] = [];
    const now = new Map<string, number>();
    const watch = service.watch({ backupIds, untilFinished: true, onReconnect: ({ reason }) => why.push(reason) });
    let resets = 0;
    const watching = (async () => {
      for await (const { reset, controllers } of watch) {
        if (reset) resets++;
        for (const { backupId, progress } of controllers) now.set(backupId, progress);
      }
    })();
    for (let i = 1; i <= 20; i++) {
      for (const backupId of backupIds) {
        const controller = { progress: i / 20 };
        await backend.controllers.updateController({ backupId, controller, updateMask: { paths: ['progress'] } });
      }
      if (i % 5 === 0) cable.cut();
      await eventually(() => assert.deepEqual([...now.values()], [i / 20, i / 20]));
    }
    await eventually(() => assert.ok(why.includes('MAX_AGE')));
    assert.equal(resets, 1, 'it began anew');
    assert.ok(watch.resumeToken);
    for (const backupId of backupIds) {
      await backend.controllers.transitionController({ backupId, from: Status.CREATED, to: Status.FINISHED_ERR });
    }
    await watching;
    await append(backend, backupIds[0]!, ['done']);
  });
});

async function failure(call: Promise<unknown>): Promise<RpcError> {
  const error = await call.then(
    () => assert.fail('it was not refused'),
    error => error,
  );
  assert.ok(error instanceof RpcError, String(error));
  return error;
}

async function collect<T>(all: AsyncIterable<T>): Promise<T[]> {
  const some: T[] = [];
  for await (const one of all) some.push(one);
  return some;
}
