import { strict as assert } from 'node:assert';
import { randomUUID } from 'node:crypto';
import { LogLevel } from '../../src/gen/backup/v1/entry_pb.ts';
import { IngestEnd_Reason } from '../../src/gen/backup/v1/log_pb.ts';
import { type Backend, clients, connect, startBackend, startReplica } from '../support/backend.ts';
import { createDatabase, type Database } from '../support/database.ts';
import { eventually } from '../support/eventually.ts';
import { batch, ingest, ingestAll, kept, start } from '../support/ingesting.ts';
import { locked } from '../support/locked.ts';
import { ready, run } from '../support/process.ts';
import { refused } from '../support/status.ts';
import { Subscriber } from '../support/subscriber.ts';
import { append, newBackup, newBackupId, truthOf } from '../support/writing.ts';
import { held, LEASE_LOST, onlyWoken } from './work/work.ts';

describe('LogService.IngestLogs', () => {
  let backend: Backend;
  before(async () => {
    backend = await startBackend({ replicas: 2, settings: onlyWoken });
  });
  after(() => backend[Symbol.asyncDispose]());

  it('keeps numbered batches in their order and says up to which they are durable', async () => {
    const backupId = newBackupId();
    const { told, fault } = await ingest(backend, [
      start({ backupId }),
      ...[1, 2, 3].map(n => batch(n, [`${n}a`, `${n}b`])),
    ]);
    assert.equal(fault, undefined);
    assert.deepEqual([told[0]!.case, told[0]!.value], ['started', { ...told[0]!.value, lastNumber: 0n }]);
    const [last, end] = told.slice(-2);
    assert.ok(last!.case === 'acknowledged' && end!.case === 'end');
    assert.deepEqual([last!.value.lastNumber, last!.value.lastId], [3n, 6n]);
    assert.equal(end!.value.reason, IngestEnd_Reason.FINISHED);
    assert.deepEqual(await lines(backend.database, backupId), ['1a', '1b', '2a', '2b', '3a', '3b']);
  });

  it('is durable when it is acknowledged, while the stream goes on', async () => {
    const backupId = newBackupId();
    const more = Promise.withResolvers<void>();
    const requests = async function* () {
      yield start({ backupId });
      yield batch(1, ['first']);
      await more.promise;
      yield batch(2, ['second']);
    };
    for await (const { event } of backend.logs.ingestLogs(requests())) {
      if (event.case !== 'acknowledged') continue;
      const written = Number(event.value.lastNumber);
      assert.deepEqual(await lines(backend.database, backupId), ['first', 'second'].slice(0, written));
      more.resolve();
    }
    assert.deepEqual(await lines(backend.database, backupId), ['first', 'second']);
  });

  it('tells a writer that comes back, on whichever replica, where to go on, and keeps nothing twice', async () => {
    const writer = { backupId: newBackupId(), writerId: randomUUID() };
    await ingest(backend, [start(writer), batch(1, ['1']), batch(2, ['2'])]);
    const { told } = await ingest(backend.replicas[1]!, [
      start(writer),
      batch(1, ['1']),
      batch(2, ['2']),
      batch(3, ['3']),
      batch(3, ['3']),
    ]);
    assert.ok(told[0]!.case === 'started');
    assert.equal(told[0]!.value.lastNumber, 2n);
    assert.equal(kept(told), 3n);
    assert.deepEqual(await lines(backend.database, writer.backupId), ['1', '2', '3']);
  });

  it('knows writers apart, of one log as well as of two', async () => {
    const [backupId, other] = [newBackupId(), newBackupId()];
    const writerId = randomUUID();
    for (const writer of [{ backupId, writerId }, { backupId }, { backupId: other, writerId }]) {
      const { told } = await ingest(backend, [start(writer), batch(1, ['x'])]);
      assert.ok(told[0]!.case === 'started');
      assert.equal(told[0]!.value.lastNumber, 0n);
    }
    assert.deepEqual(await lines(backend.database, backupId), ['x', 'x']);
    assert.deepEqual(await lines(backend.database, other), ['x']);
  });

  it('refuses a batch before which one is missing, after the ones before were acknowledged', async () => {
    const backupId = newBackupId();
    const { told, fault } = await ingest(backend, [start({ backupId }), batch(1, ['1']), batch(3, ['3'])]);
    const { info } = await refused(Promise.reject(fault), { code: 'OUT_OF_RANGE', reason: 'BATCH_MISSING' });
    assert.deepEqual(info!.metadata, { expected: '2' });
    assert.equal(kept(told), 1n);
    assert.deepEqual(await lines(backend.database, backupId), ['1']);
  });

  const misplaced = {
    'a batch before the start': [batch(1, ['1'])],
    'a second start': [start({ backupId: newBackupId() }), start({ backupId: newBackupId() })],
  };
  for (const [what, requests] of Object.entries(misplaced)) {
    it(`refuses ${what}`, async () => {
      const { fault } = await ingest(backend, requests);
      await refused(Promise.reject(fault), { code: 'INVALID_ARGUMENT', reason: 'INVALID_FIELD', field: 'start' });
    });
  }

  it('refuses a stream that ends before it has started', async () => {
    const { fault } = await ingest(backend, []);
    await refused(Promise.reject(fault), { code: 'INVALID_ARGUMENT', reason: 'INVALID_FIELD', field: 'start' });
  });

  it('ends with what is wrong in a batch, after the ones before were acknowledged', async () => {
    const wrong = {
      'batch.entries[1].message': batch(3, ['fine', 'NUL \0']),
      'batch.entries[0].level': batch(3, ['x'], 25 as LogLevel),
      'batch.entries': batch(3, []),
      'batch.number': batch(0, ['x']),
    };
    for (const [field, third] of Object.entries(wrong)) {
      const backupId = newBackupId();
      const { told, fault } = await ingest(backend, [start({ backupId }), batch(1, ['1']), batch(2, ['2']), third]);
      await refused(Promise.reject(fault), { code: 'INVALID_ARGUMENT', reason: 'INVALID_FIELD', field });
      assert.equal(kept(told), 2n, field);
      assert.deepEqual(await lines(backend.database, backupId), ['1', '2']);
    }
  });

  it('refuses a message that is too long with its path, and keeps what came before', async () => {
    await using replica = await startReplica(backend.database.url, { LOG_MAX_MESSAGE_BYTES: '1024' });
    const backupId = newBackupId();
    const { told, fault } = await ingest(replica, [
      start({ backupId }),
      batch(1, ['é'.repeat(512)]),
      batch(2, ['fine', 'é'.repeat(513)]),
    ]);
    await refused(Promise.reject(fault), {
      code: 'INVALID_ARGUMENT',
      reason: 'INVALID_FIELD',
      field: 'batch.entries[1].message',
    });
    assert.equal(kept(told), 1n);
  });

  it('drops what is too verbose and says so, and a batch of nothing else is not sent again either', async () => {
    await using replica = await startReplica(backend.database.url, { LOG_KEEP_LEVEL: 'info' });
    const writer = { backupId: newBackupId(), writerId: randomUUID() };
    const { told } = await ingest(replica, [start(writer), batch(1, ['x', 'y'], LogLevel.DEBUG)]);
    const last = told.at(-2)!;
    assert.ok(last.case === 'acknowledged');
    assert.deepEqual([last.value.lastNumber, last.value.lastId, last.value.dropped], [1n, 0n, 2]);
    assert.deepEqual(
      await backend.database.query('select from backup_log_heads where backupid = $1', [writer.backupId]),
      [],
    );
    const again = await ingest(replica, [start(writer), batch(1, ['x', 'y'], LogLevel.DEBUG), batch(2, ['z'])]);
    assert.equal(kept(again.told.slice(0, 1)), 1n);
    assert.deepEqual(await lines(backend.database, writer.backupId), ['z']);
  });

  it("keeps a worker's batches with its attempt while it holds the lease, and nothing after that", async () => {
    const lease = await held(backend);
    const requests = async function* () {
      yield start(lease);
      yield batch(1, ['held']);
      await eventually(async () => assert.deepEqual(await lines(backend.database, lease.backupId), ['held']));
      await backend.controllers.releaseController(lease);
      yield batch(2, ['late']);
    };
    const { told, fault } = await ingest(backend, requests());
    await refused(Promise.reject(fault), LEASE_LOST);
    assert.equal(kept(told), 1n);
    assert.deepEqual(
      await backend.database.query('select attempt, message from backup_logs where backupid = $1', [lease.backupId]),
      [{ attempt: 1, message: 'held' }],
    );
  });

  it('acknowledges what was kept before the lease was lost', async () => {
    const lease = { ...(await held(backend)), writerId: randomUUID() };
    await ingest(backend, [start(lease), batch(1, ['held'])]);
    await backend.controllers.releaseController(lease);
    const { told, fault } = await ingest(backend, [start(lease), batch(1, ['held'])]);
    assert.deepEqual([kept(told), fault], [1n, undefined]);
  });

  it('wakes whoever tails the log, on every replica', async () => {
    const backupId = newBackupId();
    await using subscriber = new Subscriber(backend.replicas[1]!, { backupIds: [backupId], follow: true });
    await subscriber.told('caughtUp');
    await ingest(backend, [start({ backupId }), batch(1, ['now'])]);
    await subscriber.received(1);
  });

  it('goes on together with appends: ids stay dense', async () => {
    const backupId = newBackupId();
    const batches = Array.from({ length: 100 }, (_, i) => [`a ${i}`, `b ${i}`]);
    await Promise.all([
      ...[0, 1, 2].map(i => ingestAll(() => backend.replicas[i % 2]!, { backupId }, batches)),
      ...Array.from({ length: 100 }, (_, i) => append(backend, backupId, [`append ${i}`])),
    ]);
    const truth = await truthOf(backend.database, [backupId]);
    assert.deepEqual(
      truth.map(row => Number(row.id)),
      Array.from({ length: 700 }, (_, i) => i + 1),
    );
  });

  it('keeps each batch once when two streams of a writer send the same ones at the same time', async () => {
    for (let round = 0; round < 5; round++) {
      const writer = { backupId: newBackupId(), writerId: randomUUID() };
      const batches = Array.from({ length: 200 }, (_, i) => [`${i}`]);
      await Promise.all([0, 1].map(i => ingestAll(() => backend.replicas[i]!, writer, batches)));
      assert.deepEqual(await lines(backend.database, writer.backupId), batches.flat());
    }
  });

  it('keeps each batch once of a writer that breaks off again and again, on whichever replica', async () => {
    const writer = { backupId: newBackupId(), writerId: randomUUID() };
    const batches: string[][] = [];
    let turn = 0;
    for (let broken = 0; broken < 5; ) {
      for (let i = 0; i < 300; i++) batches.push([`${batches.length}`, `${batches.length}'`]);
      const { streams } = await ingestAll(() => backend.replicas[turn++ % 2]!, writer, batches, 3);
      broken += streams - 1;
    }
    assert.deepEqual(await lines(backend.database, writer.backupId), batches.flat());
  });

  it('says that a writer is forgotten whose log was deleted, and keeps nothing of it', async () => {
    const backupId = await newBackup(backend);
    const requests = async function* () {
      yield start({ backupId });
      yield batch(1, ['1']);
      await eventually(async () => assert.deepEqual(await lines(backend.database, backupId), ['1']));
      await backend.controllers.deleteController({ backupId });
      yield batch(2, ['2']);
    };
    const { fault } = await ingest(backend, requests());
    await refused(Promise.reject(fault), { code: 'ABORTED', reason: 'WRITER_FORGOTTEN' });
    assert.deepEqual(await lines(backend.database, backupId), []);
  });

  it('locks its writer before its log, as whoever deletes the log does: neither waits for the other in a circle', async () => {
    const writer = { backupId: await newBackup(backend), writerId: randomUUID() };
    await ingest(backend, [start(writer), batch(1, ['x'])]);
    const lock = await locked(
      backend.database,
      `select from backup_log_writers where backupid = '${writer.backupId}' for update`,
    );
    const deleting = backend.controllers.deleteController({ backupId: writer.backupId });
    await lock.waited();
    // Nobody holds the log's head yet.
    await append(backend, writer.backupId, ['meanwhile']);
    await lock[Symbol.asyncDispose]();
    await deleting;
  });

  it('is no obstacle to whoever deletes the log, nor the other way round', async () => {
    for (let round = 0; round < 10; round++) {
      const writer = { backupId: await newBackup(backend), writerId: randomUUID() };
      const writing = ingest(backend, [start(writer), ...Array.from({ length: 50 }, (_, i) => batch(i + 1, ['x']))]);
      await eventually(async () => assert.notDeepEqual(await lines(backend.database, writer.backupId), []));
      await backend.controllers.deleteController({ backupId: writer.backupId });
      const { told, fault } = await writing;
      if (fault) await refused(Promise.reject(fault), { code: 'ABORTED', reason: 'WRITER_FORGOTTEN' });
      else assert.equal(kept(told), 50n);
    }
  });

  it('lets a writer wait while the database does not take more', async () => {
    const backupId = newBackupId();
    await append(backend, backupId, ['first']);
    const lock = await locked(
      backend.database,
      `select from backup_log_heads where backupid = '${backupId}' for update`,
    );
    let sent = 0;
    const requests = async function* () {
      yield start({ backupId });
      for (; sent < 300; sent++) yield batch(sent + 1, ['x'.repeat(64 * 1024)]);
    };
    const writing = ingest(backend, requests());
    await lock.waited();
    await eventually(() => assert.ok(sent > 4));
    // What fits into the buffers of both sides and the window between them was taken, and no more.
    let before = -1;
    await eventually(async () => {
      const now = sent;
      await new Promise(resolve => setTimeout(resolve, 100));
      const still = now === before && now === sent;
      before = sent;
      assert.ok(still, 'it goes on sending');
    });
    assert.ok(sent < 60, `${sent} batches were taken`);
    await lock[Symbol.asyncDispose]();
    assert.equal(kept((await writing).told), 300n);
  });

  it('goes on when the connections of the database are killed in the middle, and keeps each batch once', async () => {
    const backupId = newBackupId();
    const batches = Array.from({ length: 400 }, (_, i) => [`${i}`, `${i}'`]);
    const writing = ingestAll(() => backend, { backupId }, batches);
    for (const count of [50, 200, 500]) {
      await eventually(async () => assert.ok((await lines(backend.database, backupId)).length >= count));
      await backend.database.query(
        `select pg_terminate_backend(pid) from pg_stat_activity
         where datname = current_database() and application_name = 'backup-management'`,
      );
    }
    const { streams } = await writing;
    assert.equal(streams, 1, 'the stream rides it out');
    assert.deepEqual(await lines(backend.database, backupId), batches.flat());
  });

  it('ends with MAX_AGE, and the writer goes on with the next stream', async () => {
    await using replica = await startReplica(backend.database.url, { TAIL_MAX_AGE: '200ms' });
    const ends: unknown[] = [];
    const watched = {
      logs: {
        ...replica.logs,
        async *ingestLogs(...args: Parameters<typeof replica.logs.ingestLogs>) {
          for await (const answer of replica.logs.ingestLogs(...args)) {
            if (answer.event.case === 'end') ends.push(answer.event.value.reason);
            yield answer;
          }
        },
      },
    };
    const backupId = newBackupId();
    const batches = Array.from({ length: 3000 }, (_, i) => [`${i}`]);
    await ingestAll(() => watched, { backupId }, batches);
    assert.deepEqual(await lines(backend.database, backupId), batches.flat());
    const { MAX_AGE, FINISHED } = IngestEnd_Reason;
    assert.deepEqual([new Set(ends), ends.at(-1)], [new Set([MAX_AGE, FINISHED]), FINISHED]);
  });

  it('ends a silent stream when its replica shuts down, with a word and UNAVAILABLE', async () => {
    const replica = await startReplica(backend.database.url);
    const quiet = Promise.withResolvers<void>();
    const requests = async function* () {
      yield start({ backupId: newBackupId() });
      yield batch(1, ['x']);
      await quiet.promise;
    };
    const told: unknown[] = [];
    const stream = (async () => {
      for await (const { event } of replica.logs.ingestLogs(requests())) {
        told.push(event.case === 'end' ? event.value.reason : event.case);
        if (event.case === 'acknowledged') void replica[Symbol.asyncDispose]();
      }
    })();
    await refused(stream, { code: 'UNAVAILABLE', reason: 'DRAINING' });
    quiet.resolve();
    assert.deepEqual(told, ['started', 'acknowledged', IngestEnd_Reason.DRAINING]);
    await replica[Symbol.asyncDispose]();
  });

  it('leaves nothing behind of writers that break off', async () => {
    const before = backend.app.admission.streams;
    for (let i = 0; i < 20; i++) {
      const stop = new AbortController();
      const requests = async function* () {
        yield start({ backupId: newBackupId() });
        for (let n = 1; ; n++) yield batch(n, ['x'.repeat(1000)]);
      };
      const stream = backend.logs.ingestLogs(requests(), { signal: stop.signal });
      await assert.rejects(async () => {
        for await (const { event } of stream) if (event.case === 'acknowledged') stop.abort();
      });
    }
    await eventually(() => assert.equal(backend.app.admission.streams, before));
  });

  it('forgets writers that have been silent for long', async () => {
    await using database = await createDatabase();
    await using replica = await startReplica(database.url, { REQUEST_RETENTION: '1h' });
    const writers = [0, 1].map(() => ({ backupId: newBackupId(), writerId: randomUUID() }));
    for (const writer of writers) await ingest(replica, [start(writer), batch(1, ['x'])]);
    await database.query('update backup_log_writers set updated_at = updated_at - 3000');
    // A stream that is opened counts.
    await ingest(replica, [start(writers[1]!)]);
    await database.query('update backup_log_writers set updated_at = updated_at - 1000');
    await using _again = await startReplica(database.url, { REQUEST_RETENTION: '1h' });
    await eventually(async () =>
      assert.deepEqual(await database.query('select backupid from backup_log_writers'), [
        { backupid: writers[1]!.backupId },
      ]),
    );
    const { fault } = await ingest(replica, [start(writers[0]!), batch(2, ['y'])]);
    await refused(Promise.reject(fault), { code: 'OUT_OF_RANGE', reason: 'BATCH_MISSING' });
  });
});

describe('LogService.IngestLogs over real processes', () => {
  it('keeps each batch once while replicas are killed in the middle', async () => {
    await using database = await createDatabase();
    const startProcess = async () => {
      const running = run(process.execPath, ['src/main.ts'], {
        DATABASE_URL: database.url,
        LISTEN: '127.0.0.1:0',
        SERVICE_LOG: 'silent',
      });
      return { running, channel: connect(await ready(running)) };
    };
    const replicas = await Promise.all([startProcess(), startProcess()]);
    try {
      const backupIds = Array.from({ length: 4 }, newBackupId);
      const batches = Array.from({ length: 3000 }, (_, i) => Array.from({ length: 5 }, (_, k) => `${i}.${k}`));
      let turn = 0;
      const writing = Promise.all(
        backupIds.map(backupId => ingestAll(() => clients(replicas[turn++ % 2]!.channel), { backupId }, batches)),
      );
      for (const [i, count] of [1000, 20_000, 40_000].entries()) {
        await eventually(async () => {
          const [row] = await database.query('select count(*)::int as count from backup_logs');
          assert.ok((row!['count'] as number) >= count);
        });
        const victim = replicas[i % 2]!;
        victim.running.child.kill('SIGKILL');
        await victim.running.exit();
        replicas[i % 2] = await startProcess();
        victim.channel.close();
      }
      const streams = await writing;
      assert.ok(
        streams.some(one => one.streams > 1),
        'nobody was hit',
      );
      for (const backupId of backupIds) assert.deepEqual(await lines(database, backupId), batches.flat());
    } finally {
      for (const { running, channel } of replicas) {
        channel.close();
        await running[Symbol.asyncDispose]();
      }
    }
  });
});

async function lines(database: Database, backupId: string): Promise<unknown[]> {
  return (await truthOf(database, [backupId])).map(row => row.message);
}
