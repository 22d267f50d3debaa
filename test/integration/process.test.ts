import { strict as assert } from 'node:assert';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { status } from '@grpc/grpc-js';
import { HealthCheckResponse_ServingStatus as Serving } from '../../src/gen/health/v1/health_pb.ts';
import { clients, connect } from '../support/backend.ts';
import { createDatabase, createEmptyDatabase } from '../support/database.ts';
import { eventually } from '../support/eventually.ts';
import { processesWith, ready, run } from '../support/process.ts';
import { Subscriber } from '../support/subscriber.ts';
import { append, newBackupId } from '../support/writing.ts';

describe('npm start', () => {
  it('serves on an embedded PostgreSQL, keeps the data, and leaves nothing behind however it ends', async () => {
    const folder = mkdtempSync(join(tmpdir(), 'backup-management-start-'));
    const settings = { DATABASE_URL: undefined, ENGINE: 'plain', DATA_DIR: folder, LISTEN: '127.0.0.1:0' };
    const backupId = newBackupId();
    try {
      for (const [round, signal] of (['SIGTERM', 'SIGINT', 'SIGKILL', 'SIGTERM'] as const).entries()) {
        await using service = run('npm', ['start'], settings);
        const channel = connect(await ready(service));
        const { logs, health } = clients(channel);
        const { lastId } = await append({ logs }, backupId, [signal]);
        assert.equal(lastId, BigInt(round + 1));
        await eventually(async () => assert.equal((await health.check({})).status, Serving.SERVING));
        channel.close();
        // npm itself, as a terminal or a supervisor would reach it; a kill has to reach the service directly.
        if (signal === 'SIGKILL') process.kill(-service.child.pid!, signal);
        else service.child.kill(signal);
        const code = await service.exit();
        if (signal !== 'SIGKILL') assert.equal(code, 0, service.output());
        await eventually(() => assert.deepEqual(processesWith(folder), []));
      }
    } finally {
      rmSync(folder, { recursive: true, force: true });
    }
  });

  it('migrates an empty database of DATABASE_URL and starts none of its own', async () => {
    await using database = await createEmptyDatabase();
    await using service = run('npm', ['start'], {
      DATABASE_URL: database.url,
      LISTEN: '127.0.0.1:0',
      DATA_DIR: '/nonexistent',
    });
    await ready(service);
    assert.deepEqual(await database.query('select count(*)::int as n from backup_controllers'), [{ n: 0 }]);
    service.child.kill('SIGTERM');
    assert.equal(await service.exit(), 0);
  });

  it('reports every bad setting at once, and exits 1', async () => {
    await using service = run('npm', ['start'], {
      LISTEN: 'nowhere',
      CALL_TIMEOUT: '5 parsecs',
      DATABASE_URL: 'mysql://x',
    });
    assert.equal(await service.exit(), 1);
    for (const name of ['LISTEN=nowhere', 'CALL_TIMEOUT=5 parsecs', 'DATABASE_URL=...']) {
      assert.ok(service.output().includes(name), service.output());
    }
  });

  it('says what is wrong when its port is taken or its database is not there, and exits 1', async () => {
    await using database = await createDatabase();
    await using first = run('npm', ['start'], { DATABASE_URL: database.url, LISTEN: '127.0.0.1:0' });
    const address = await ready(first);
    await using second = run('npm', ['start'], { DATABASE_URL: database.url, LISTEN: address });
    assert.equal(await second.exit(), 1);
    assert.ok(second.output().includes('EADDRINUSE'), second.output());
    await using third = run('npm', ['start'], {
      DATABASE_URL: 'postgresql://nobody@127.0.0.1:1/none',
      LISTEN: '127.0.0.1:0',
    });
    assert.equal(await third.exit(), 1);
    assert.ok(third.output().includes('ECONNREFUSED'), third.output());
    first.child.kill('SIGTERM');
    await first.exit();
  });

  it('lists the settings with --help', async () => {
    await using service = run('npm', ['start', '--', '--help']);
    assert.equal(await service.exit(), 0);
    assert.match(service.output(), /TAIL_HEARTBEAT +10s +How often/);
  });

  it('on SIGTERM turns health, ends tails with a token, finishes calls and logs them without their content', async () => {
    await using database = await createDatabase();
    await using service = run('npm', ['start'], { DATABASE_URL: database.url, LISTEN: '127.0.0.1:0' });
    const channel = connect(await ready(service));
    const { logs, health, controllers } = clients(channel);
    const backupId = newBackupId();
    await append({ logs }, backupId, ['a secret line']);
    await eventually(async () => assert.equal((await health.check({})).status, Serving.SERVING));
    await assert.rejects(controllers.getController({ backupId }), { code: status.NOT_FOUND });
    const subscriber = new Subscriber({ logs }, { backupIds: [backupId], follow: true });
    await subscriber.told('caughtUp');
    const seen: Serving[] = [];
    const watching = (async () => {
      for await (const { status } of health.watch({ service: 'backup.v1.LogService' })) seen.push(status);
    })().catch(() => {});
    await eventually(() => assert.deepEqual(seen, [Serving.SERVING]));
    service.child.kill('SIGTERM');
    assert.equal(await service.exit(), 0);
    await watching;
    assert.deepEqual(seen, [Serving.SERVING, Serving.NOT_SERVING]);
    assert.equal((await subscriber.done)?.code, status.UNAVAILABLE);
    assert.equal(subscriber.history.end, 'DRAINING');
    assert.ok(subscriber.history.token);
    channel.close();
    const lines = service
      .output()
      .split('\n')
      .filter(line => line.startsWith('{'))
      .map(line => JSON.parse(line));
    const call = lines.find(line => line.method === 'backup.v1.LogService/AppendLogs');
    assert.deepEqual([call.code, typeof call.durationMs, typeof call.requestId], ['OK', 'number', 'string']);
    const refusedCall = lines.find(line => line.method === 'backup.v1.ControllerService/GetController');
    assert.deepEqual([refusedCall.code, refusedCall.reason], ['NOT_FOUND', 'CONTROLLER_NOT_FOUND']);
    assert.ok(!service.output().includes('a secret line'));
  });
});
