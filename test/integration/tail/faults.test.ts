import { strict as assert } from 'node:assert';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { status } from '@grpc/grpc-js';
import { startEmbeddedPostgres } from '../../../src/db/embedded.ts';
import { HealthCheckResponse_ServingStatus as Serving } from '../../../src/gen/health/v1/health_pb.ts';
import { acceleratorsOff, startBackend, startReplica } from '../../support/backend.ts';
import { administer, engine } from '../../support/database.ts';
import { eventually } from '../../support/eventually.ts';
import { Subscriber } from '../../support/subscriber.ts';
import { append, newBackupId, truthOf, writeAll } from '../../support/writing.ts';

const killListeners = (database: string) =>
  `select pg_terminate_backend(pid) from pg_stat_activity where datname = '${database}' and application_name like '%doorbell'`;

describe('TailLogs when something breaks', () => {
  it('loses nothing when the listening connections are killed in the middle', async () => {
    await using backend = await startBackend({ replicas: 2 });
    const backupId = newBackupId();
    const subscriber = new Subscriber(backend.replicas[1]!, { backupIds: [backupId], follow: true });
    await subscriber.told('caughtUp');
    const writing = writeAll([backend], backupId, 'line', 300);
    for (const count of [50, 150, 250]) {
      await subscriber.received(count);
      await backend.database.query(killListeners(new URL(backend.database.url).pathname.slice(1)));
    }
    await writing;
    await subscriber.received(300);
    await subscriber.cancel();
    subscriber.history.complete(await truthOf(backend.database, [backupId]));
  });

  it('delivers within the poll interval when no ring comes through', async () => {
    // The writer's replica does not ring, as if its NOTIFY were lost.
    await using backend = await startBackend({ settings: { TAIL_POLL: '100ms' } });
    await using mute = await startReplica(backend.database.url, { NOTIFY: 'off' });
    const backupId = newBackupId();
    await using subscriber = new Subscriber(backend, { backupIds: [backupId], follow: true });
    await subscriber.told('caughtUp');
    for (let i = 1; i <= 5; i++) {
      await append(mute, backupId, [`${i}`]);
      await subscriber.received(i, 1000);
    }
  });

  if (!acceleratorsOff) {
    it('delivers long before the poll interval when rings come through', async () => {
      await using backend = await startBackend({ replicas: 2, settings: { TAIL_POLL: '10m' } });
      const backupId = newBackupId();
      await using subscriber = new Subscriber(backend.replicas[1]!, { backupIds: [backupId], follow: true });
      await subscriber.told('caughtUp');
      for (let i = 1; i <= 20; i++) {
        await append(backend, backupId, [`${i}`]);
        await subscriber.received(i, 5000);
      }
    });

    it('looks again when the listening connection comes back, for a ring that came meanwhile', async () => {
      await using backend = await startBackend({ replicas: 2, settings: { TAIL_POLL: '10m' } });
      const backupId = newBackupId();
      await using subscriber = new Subscriber(backend.replicas[1]!, { backupIds: [backupId], follow: true });
      await subscriber.told('caughtUp');
      await backend.database.query(killListeners(new URL(backend.database.url).pathname.slice(1)));
      await append(backend, backupId, ['rung into the void']);
      await subscriber.received(1);
    });
  }

  // A PostgreSQL of its own can be restarted, and is no cluster. Of that the nodes that have the logs are away: the coordinator says so of them.
  const restarts = engine === 'citus' ? nodesAway : databaseRestarts;
  it('goes on when the database restarts in the middle, and calls fail fast meanwhile', restarts);

  async function nodesAway() {
    await using backend = await startBackend({ replicas: 2 });
    const backupId = newBackupId();
    const subscriber = new Subscriber(backend.replicas[1]!, { backupIds: [backupId], follow: true });
    await subscriber.told('caughtUp');
    const writing = writeAll(backend.replicas, backupId, 'line', 200, 2);
    await subscriber.received(50);
    const name = new URL(backend.database.url).pathname.slice(1);
    await administer(`select run_command_on_workers('alter database ${name} allow_connections false')`);
    await administer(
      `select run_command_on_workers('select count(pg_terminate_backend(pid)) from pg_stat_activity where datname = ''${name}''')`,
    );
    const began = performance.now();
    await assert.rejects(append(backend, backupId, ['nobody hears of it']), { code: status.UNAVAILABLE });
    assert.ok(performance.now() - began < 25_000);
    await administer(`select run_command_on_workers('alter database ${name} allow_connections true')`);
    await writing;
    await subscriber.received(400);
    await subscriber.cancel();
    subscriber.history.complete(await truthOf(backend.database, [backupId]));
    assert.deepEqual(
      subscriber.history.messages(),
      Array.from({ length: 400 }, (_, i) => `line ${i}`),
    );
  }

  async function databaseRestarts() {
    const folder = mkdtempSync(join(tmpdir(), 'backup-management-restart-'));
    let postgres = await startEmbeddedPostgres({ dataDir: folder });
    const port = new URL(postgres.url).port;
    const replicas = [await startReplica(postgres.url), await startReplica(postgres.url)];
    try {
      const backupId = newBackupId();
      const subscriber = new Subscriber(replicas[1]!, { backupIds: [backupId], follow: true });
      await subscriber.told('caughtUp');
      const writing = writeAll(replicas, backupId, 'line', 200, 2);
      await subscriber.received(50);
      await postgres[Symbol.asyncDispose]();
      await eventually(async () => {
        const { status } = await replicas[0]!.health.check({ service: 'backup.v1.LogService' });
        assert.equal(status, Serving.NOT_SERVING);
      });
      const began = performance.now();
      await assert.rejects(replicas[0]!.controllers.getController({ backupId }), { code: status.UNAVAILABLE });
      assert.ok(performance.now() - began < 25_000);
      postgres = await startEmbeddedPostgres({ dataDir: folder, settings: { port } });
      await writing;
      await subscriber.received(400);
      await subscriber.cancel();
      subscriber.history.complete(
        subscriber.history.entries.map(entry => ({
          backupid: backupId,
          id: entry.id,
          loglevel: entry.level,
          message: entry.message,
        })),
      );
      assert.deepEqual(
        subscriber.history.messages(),
        Array.from({ length: 400 }, (_, i) => `line ${i}`),
      );
      await eventually(async () => {
        const { status } = await replicas[0]!.health.check({});
        assert.equal(status, Serving.SERVING);
      });
    } finally {
      for (const replica of replicas) await replica[Symbol.asyncDispose]();
      await postgres[Symbol.asyncDispose]();
      rmSync(folder, { recursive: true, force: true });
    }
  }

  it('gives up on a database that stays away, with UNAVAILABLE', async () => {
    await using backend = await startBackend({
      settings: { TAIL_OUTAGE: '300ms', TAIL_POLL: '50ms' },
    });
    const backupId = newBackupId();
    const subscriber = new Subscriber(backend, { backupIds: [backupId], follow: true });
    await subscriber.told('caughtUp');
    const name = new URL(backend.database.url).pathname.slice(1);
    await administer(`alter database ${name} allow_connections false`);
    await administer(`select pg_terminate_backend(pid) from pg_stat_activity where datname = '${name}'`);
    assert.equal((await subscriber.done)?.code, status.UNAVAILABLE);
    await administer(`alter database ${name} allow_connections true`);
    const again = new Subscriber(backend, { backupIds: [backupId] });
    assert.equal(await again.done, undefined);
  });

  it('continues on another replica when its own is gone, while writers go on', async () => {
    await using backend = await startBackend({ replicas: 3 });
    const [first, second, third] = backend.replicas;
    const backupId = newBackupId();
    const writing = writeAll([third!], backupId, 'line', 400);
    let subscriber = new Subscriber(first!, { backupIds: [backupId], follow: true });
    await subscriber.received(50);
    await first![Symbol.asyncDispose]();
    await subscriber.done;
    subscriber = subscriber.resume(second!);
    await subscriber.received(150);
    await second![Symbol.asyncDispose]();
    await subscriber.done;
    await using restarted = await startReplica(backend.database.url);
    subscriber = subscriber.resume(restarted);
    await writing;
    await subscriber.received(400);
    await subscriber.cancel();
    subscriber.history.complete(await truthOf(backend.database, [backupId]));
  });
});
