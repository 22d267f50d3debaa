import { strict as assert } from 'node:assert';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { pino } from 'pino';
import { HealthCheckResponse_ServingStatus as Serving } from '../../src/gen/health/v1/health_pb.ts';
import { Authority, Files } from '../support/authority.ts';
import { type Backend, type Replica, startBackend, startReplica } from '../support/backend.ts';
import { type Broker, brokers, NATS_SUBJECTS, REDIS_RIGHTS, startBroker } from '../support/broker.ts';
import { createDatabase, createEmptyDatabase } from '../support/database.ts';
import { eventually } from '../support/eventually.ts';
import { ready, repository, run } from '../support/process.ts';
import { scrape } from '../support/scrape.ts';
import { Subscriber } from '../support/subscriber.ts';
import { append, newBackup, newBackupId } from '../support/writing.ts';
import { Picture } from './watch/picture.ts';
import { claimed, queued } from './work/work.ts';

/** Nobody is woken by looking: what arrives in time was rung for. */
const onlyWoken = { TAIL_POLL: '10m', TAIL_HEARTBEAT: '10m', NOTIFY_HEARTBEAT: '500ms', METRICS_LISTEN: '127.0.0.1:0' };

for (const kind of brokers)
  describe(`With ${kind} as the doorbell`, () => {
    let broker: Broker;
    let backend: Backend;
    let far: Replica;
    before(async () => {
      broker = await startBroker(kind);
      backend = await startBackend({ replicas: 2, settings: { ...onlyWoken, DOORBELL_URL: broker.url } });
      far = backend.replicas[1]!;
    });
    after(async () => {
      await backend[Symbol.asyncDispose]();
      await broker[Symbol.asyncDispose]();
    });
    beforeEach(async () => {
      // A test that failed may have left it dead.
      await broker.start();
      await hearing(...backend.replicas);
    });

    const follow = async (replica: Replica, backupId: string) => {
      const subscriber = new Subscriber(replica, { backupIds: [backupId], follow: true });
      await subscriber.told('caughtUp');
      return subscriber;
    };

    it('tails on another replica are woken', async () => {
      const backupId = newBackupId();
      await using subscriber = await follow(far, backupId);
      for (let i = 1; i <= 20; i++) {
        await append(backend, backupId, [`${i}`]);
        await subscriber.received(i);
      }
    });

    it('watches on another replica are woken', async () => {
      const backupId = await newBackup(backend);
      await using picture = new Picture(far, { backupIds: [backupId] });
      await picture.complete();
      await backend.controllers.transitionController({ backupId, from: 100, to: 300 });
      await picture.until(({ controllers }) => controllers.get(backupId)?.status === 300);
    });

    it('a claim that waits on another replica is woken', async () => {
      const claiming = claimed(far, { wait: { seconds: 20n }, filter: { format: 'parked' } });
      await eventually(() => assert.equal(far.app.doorbell.subscribers, 1));
      // Who comes after it has been answered, so it has looked, too: only by being woken does it look again.
      for (let i = 0; i < 2; i++) assert.deepEqual(await claimed(far, { filter: { format: 'none' } }), []);
      const queuedAt = performance.now();
      const { backupId } = await queued(backend, { format: 'parked' });
      assert.deepEqual(
        (await claiming).map(({ controller }) => controller!.backupId),
        [backupId],
      );
      // At the end of its patience it looks by itself.
      assert.ok(performance.now() - queuedAt < 10_000, 'it was not woken');
    });

    it('nobody listens on the database', async () => {
      const listening = await backend.database.query(
        "select query from pg_stat_activity where datname = current_database() and (application_name like '%doorbell' or query ilike 'listen%')",
      );
      assert.deepEqual(listening, []);
    });

    it('goes on while the broker is gone, a poll later at most, and looks again when it is back', async () => {
      await using polling = await startReplica(backend.database.url, {
        DOORBELL_URL: broker.url,
        TAIL_POLL: '100ms',
      });
      const backupId = newBackupId();
      await using near = await follow(backend, backupId);
      await using polled = await follow(polling, backupId);
      await using waiting = await follow(far, backupId);
      await broker.kill();
      await eventually(async () => assert.equal(await connectedOf(far), 0));
      for (let i = 1; i <= 10; i++) {
        await append(backend, backupId, [`${i}`]);
        await near.received(i);
        await polled.received(i);
      }
      const { status } = await far.health.check({});
      assert.equal(status, Serving.SERVING);
      assert.equal(waiting.history.entries.length, 0);
      await broker.start();
      await waiting.received(10);
      await eventually(async () => assert.equal(await connectedOf(far), 1));
      await append(backend, backupId, ['11']);
      await waiting.received(11);
    });

    it('starts and serves without the broker, says so once, and is woken when it is there', async () => {
      await broker.kill();
      const lines: Record<string, unknown>[] = [];
      const log = pino({ level: 'warn' }, { write: (line: string) => void lines.push(JSON.parse(line)) });
      await using late = await startReplica(
        backend.database.url,
        { ...onlyWoken, DOORBELL_URL: broker.url, SERVICE_LOG: 'warn' },
        log,
      );
      const backupId = newBackupId();
      await using subscriber = await follow(late, backupId);
      await append(late, backupId, ['own']);
      await subscriber.received(1);
      assert.equal((await late.health.check({})).status, Serving.SERVING);
      assert.equal(await connectedOf(late), 0);
      await append(backend, backupId, ['missed']);
      await broker.start();
      await subscriber.received(2);
      await hearing(late, ...backend.replicas);
      await append(backend, backupId, ['heard']);
      await subscriber.received(3);
      assert.equal(lines.length, 1, JSON.stringify(lines));
      assert.match(
        String(lines[0]!['msg']),
        new RegExp(`doorbell: ${kind}://127.0.0.1:${broker.port}: .*refused`, 'i'),
      );
    });

    it('another database on the same broker is not rung', async () => {
      // Not a clone of the template, which has its key: made anew, as installations are.
      await using database = await createEmptyDatabase();
      const settings = { ...onlyWoken, DOORBELL_URL: broker.url };
      await using other = await startReplica(database.url, settings);
      await using another = await startReplica(database.url, settings);
      await hearing(other, another);
      const heard: (string | undefined)[] = [];
      using _ = other.app.doorbell.observe(key => heard.push(key));
      const backupId = newBackupId();
      await using subscriber = await follow(far, backupId);
      await append(backend, backupId, ['here']);
      await subscriber.received(1);
      another.app.doorbell.ring('theirs');
      await eventually(() => assert.ok(heard.includes('theirs')));
      assert.deepEqual([...new Set(heard)], ['theirs']);
    });
  });

for (const kind of brokers)
  it(`${kind} with TLS and a private authority is heard`, async () => {
    await using house = new AsyncDisposableStack();
    const authority = await Authority.create();
    const files = house.use(new Files());
    const broker = house.use(await startBroker(kind, { pair: await authority.issue() }));
    const database = house.use(await createDatabase());
    const service = house.use(
      run('node', ['src/main.ts'], {
        DATABASE_URL: database.url,
        LISTEN: '127.0.0.1:0',
        METRICS_LISTEN: '127.0.0.1:0',
        DOORBELL_URL: broker.url,
        NODE_EXTRA_CA_CERTS: await files.put('authority.crt', authority.pem),
      }),
    );
    await ready(service);
    // Another stream than the line before.
    const port = await eventually(() => Number(service.output().match(/"port":(\d+),"msg":"metrics"/)![1]));
    await eventually(async () => assert.equal((await scrape(port)).value('backup_doorbell_connected'), 1));
    // One that does not know the authority says why it hears nobody.
    const lines: string[] = [];
    const log = pino({ level: 'warn' }, { write: (line: string) => void lines.push(line) });
    await using _ = await startReplica(database.url, { DOORBELL_URL: broker.url }, log);
    await eventually(() => assert.match(lines.join(), /certificate/));
    process.kill(service.child.pid!, 'SIGTERM');
    assert.equal(await service.exit(), 0);
  });

it('The documentation asks brokers for no more rights than the user of these tests has', () => {
  const page = readFileSync(join(repository, 'docs/replicas.md'), 'utf8');
  for (const rights of [REDIS_RIGHTS, NATS_SUBJECTS]) assert.ok(page.includes(rights), rights);
});

function hearing(...replicas: Replica[]): Promise<void> {
  return eventually(() => {
    for (const { app } of replicas) assert.ok(app.doorbell.connected);
  });
}

async function connectedOf({ app }: Replica): Promise<number | undefined> {
  return (await scrape(app.metricsPort)).value('backup_doorbell_connected');
}
