import { strict as assert } from 'node:assert';
import { readFileSync } from 'node:fs';
import { hostname } from 'node:os';
import { Authority } from '../support/authority.ts';
import { acceleratorsOff, type Backend, startBackend, startReplica } from '../support/backend.ts';
import { Cable } from '../support/cable.ts';
import { engine } from '../support/database.ts';
import { eventually } from '../support/eventually.ts';
import { Issuer } from '../support/issuer.ts';
import { startSecured } from '../support/secured.ts';
import { refused } from '../support/status.ts';

const millis = ({ seconds, nanos }: { seconds: bigint; nanos: number }) => Number(seconds) * 1000 + nanos / 1_000_000;

describe('DescribeReplica', () => {
  let backend: Backend;
  before(async () => {
    backend = await startBackend({ replicas: 2 });
  });
  after(() => backend[Symbol.asyncDispose]());

  it('says which replica it is, of which version, where, and since when', async () => {
    const [one, other] = await Promise.all(backend.replicas.map(({ replica }) => replica.describeReplica({})));
    const { version } = JSON.parse(readFileSync('package.json', 'utf8'));
    assert.equal(one!.version, version);
    assert.match(one!.replicaId, /^[0-9a-f]{32}$/);
    assert.notEqual(one!.replicaId, other!.replicaId);
    assert.equal((await backend.replica.describeReplica({})).replicaId, one!.replicaId);
    assert.equal(one!.host, hostname());
    const started = millis(one!.startTime!);
    const now = millis(one!.clockTime!);
    assert.ok(started <= now && now - started < 120_000 && Math.abs(now - Date.now()) < 5000);
    assert.equal(one!.caller, undefined);
  });

  it('says what the database is, and how far their clocks are apart', async () => {
    const { database } = await backend.replica.describeReplica({});
    const rows = await backend.database.query('show server_version');
    assert.equal(database!.reachable, true);
    assert.equal(database!.embedded, false);
    assert.equal(database!.version, String(rows[0]!['server_version']).split(' ')[0]);
    assert.equal(database!.readOnly, false);
    assert.equal(database!.engine, engine);
    assert.equal(database!.cluster !== undefined, engine === 'citus');
    assert.ok(millis(database!.roundTrip!) > 0 && millis(database!.roundTrip!) < 3000);
    // Both run on this machine, by one clock.
    assert.ok(Math.abs(millis(database!.clockAhead!)) <= millis(database!.roundTrip!) / 2 + 2);
    assert.ok(Math.abs(millis(database!.clockTime!) - Date.now()) < 5000);
  });

  it('says when the database lets nothing be written', async () => {
    await using readers = await startBackend();
    await readers.database.query(
      `alter database ${new URL(readers.database.url).pathname.slice(1)} set default_transaction_read_only = on`,
    );
    await readers.database.query(`select pg_terminate_backend(pid) from pg_stat_activity
      where datname = current_database() and pid <> pg_backend_pid() and application_name <> 'backup-management doorbell'`);
    await eventually(async () => {
      const { database } = await readers.replica.describeReplica({});
      assert.equal(database!.reachable && database!.readOnly, true);
    });
  });

  it('says which migrations are there, are missing, and are of a later version', async () => {
    await using aged = await startBackend();
    const { schema } = await aged.replica.describeReplica({});
    assert.ok(schema!.applied.length > 3);
    assert.deepEqual([schema!.missing, schema!.unknown], [[], []]);
    const last = schema!.applied.at(-1);
    await aged.database.query("update backup_migrations set name = 'Migration29990101000000' where name = $1", [last]);
    const changed = (await aged.replica.describeReplica({})).schema!;
    assert.deepEqual(changed.missing, [last]);
    assert.deepEqual(changed.unknown, ['Migration29990101000000']);
    assert.deepEqual(changed.applied, schema!.applied.slice(0, -1));
  });

  it('says whether it hears the others, and how often it had to connect for that', async function () {
    if (acceleratorsOff) this.skip();
    const heard = await eventually(async () => {
      const { listener } = await backend.replica.describeReplica({});
      assert.equal(listener!.connected, true);
      return listener!;
    });
    assert.equal(heard.enabled, true);
    await backend.database.query(`select pg_terminate_backend(pid) from pg_stat_activity
      where datname = current_database() and application_name = 'backup-management doorbell'`);
    await eventually(async () => {
      const { listener } = await backend.replica.describeReplica({});
      assert.equal(listener!.connected, true);
      assert.ok(listener!.connections > heard.connections);
    });
    await using deaf = await startReplica(backend.database.url, { NOTIFY: 'off' });
    const { listener } = await deaf.replica.describeReplica({});
    assert.deepEqual([listener!.enabled, listener!.connected], [false, false]);
  });

  it('says what goes by age and whether it does, and what its limits are', async () => {
    const idle = await backend.replica.describeReplica({});
    assert.equal(idle.retention!.interval, undefined);
    assert.equal(idle.retention!.unchanged, undefined);
    assert.equal(idle.limits!.messageBytes, 4_194_304n);
    assert.equal(idle.limits!.callTimeout!.seconds, 30n);
    await using replica = await startReplica(backend.database.url, {
      RETENTION: '90d',
      LOG_RETENTION: '36h',
      RETENTION_DRY_RUN: 'on',
      RETENTION_INTERVAL: '50ms',
      MAX_STREAMS: '77',
      LEASE_DURATION: '1500ms',
    });
    const { retention, limits, startTime } = await replica.replica.describeReplica({});
    assert.equal(retention!.unchanged!.seconds, 90n * 86_400n);
    assert.equal(retention!.logs!.seconds, 36n * 3600n);
    assert.equal(retention!.settingUi, undefined);
    assert.equal(retention!.dryRun, true);
    assert.equal(millis(retention!.interval!), 50);
    assert.equal(limits!.streams, 77n);
    assert.equal(millis(limits!.leaseDuration!), 1500);
    await eventually(async () => {
      const later = await replica.replica.describeReplica({});
      assert.ok(millis(later.retention!.lastRoundTime!) > millis(startTime!) + 100);
    });
  });

  it('still answers when the database does not, whether it is gone or only silent', async () => {
    await using cable = await Cable.start(new URL(backend.database.url));
    const url = Object.assign(new URL(backend.database.url), { hostname: '127.0.0.1', port: String(cable.port) }).href;
    await using replica = await startReplica(url, { DATABASE_CONNECT_TIMEOUT: '300ms', DATABASE_DIRECT_URL: url });
    const reachable = () =>
      eventually(async () => assert.equal((await replica.replica.describeReplica({})).database!.reachable, true));
    await reachable();
    const away = async () => {
      const { database, schema, replicaId } = await replica.replica.describeReplica({}, { timeoutMs: 20_000 });
      assert.deepEqual([database!.reachable, database!.version, schema], [false, '', undefined]);
      assert.match(replicaId, /^[0-9a-f]{32}$/);
    };
    cable.latencyMs = 1500;
    await away();
    cable.latencyMs = 0;
    await reachable();
    await cable[Symbol.asyncDispose]();
    await away();
  });

  it('says who calls, and what he may do', async () => {
    const issuer = await Issuer.create();
    await using secured = await startSecured(await Authority.create(), { issuer });
    const { replica } = secured.as({ token: await issuer.token('admin read unheard-of') });
    const { caller } = await replica.describeReplica({});
    assert.ok(caller!.name.length > 0);
    assert.deepEqual(caller!.scopes, ['read', 'admin']);
    assert.ok(millis(caller!.expireTime!) > Date.now());
    const { replica: writer } = secured.as({ token: await issuer.token('write') });
    await refused(writer.describeReplica({}), { code: 'PERMISSION_DENIED', reason: 'SCOPE_MISSING' });
  });
});
