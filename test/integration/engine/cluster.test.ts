import assert from 'node:assert/strict';
import { once } from 'node:events';
import { type AddressInfo, connect, createServer, type Socket } from 'node:net';
import { warningsOf } from '../../../src/db/cluster.ts';
import { migrate } from '../../../src/db/migrate.ts';
import { moveTo } from '../../../src/db/move.ts';
import { startBackend, startReplica } from '../../support/backend.ts';
import { backupctl } from '../../support/backupctl.ts';
import { describeOnCitus } from '../../support/citus.ts';
import { createBareDatabase, createDatabase, createEmptyDatabase } from '../../support/database.ts';
import { eventually } from '../../support/eventually.ts';
import { ready, run } from '../../support/process.ts';
import { append, newBackupId } from '../../support/writing.ts';

describeOnCitus('ENGINE=citus', () => {
  it('lays out a new database, by several replicas at once, and every one serves', async () => {
    await using database = await createEmptyDatabase();
    await using stack = new AsyncDisposableStack();
    const replicas = await Promise.all([0, 1, 2].map(() => startReplica(database.url, { ENGINE: 'citus' })));
    for (const replica of replicas) stack.use(replica);
    const backupId = newBackupId();
    for (const replica of replicas) await append(replica, backupId, ['one']);
    const { entries } = await replicas[0]!.logs.listLogs({ backupId });
    assert.deepEqual(
      entries.map(({ id }) => id),
      [1n, 2n, 3n],
    );
    const nodes = await database.query(
      `select count(distinct nodeport)::int as nodes, count(distinct logicalrelid)::int as tables
       from pg_dist_shard join pg_dist_placement using (shardid) join pg_dist_node using (groupid) where groupid <> 0`,
    );
    assert.deepEqual(nodes, [{ nodes: 2, tables: 6 }]);
  });

  it('does not begin where the extension or a worker is missing, and says how to mend it', async () => {
    await using database = await createBareDatabase();
    const env = { DATABASE_URL: database.url, LISTEN: '127.0.0.1:0', SERVICE_LOG: 'silent' };
    const refusal = async () => {
      await using service = run(process.execPath, ['src/main.ts'], env);
      assert.equal(await service.exit(), 1, service.output());
      return service.output();
    };
    assert.match(await refusal(), /could not start: the database has no extension citus: create it on every node/);
    await database.query('create extension citus');
    assert.match(await refusal(), /could not start: the cluster has no node that takes shards: citus_add_node/);
    await using whole = await createEmptyDatabase();
    await whole.query('update pg_dist_node set nodeport = 1 where nodeid = (select max(nodeid) from pg_dist_node)');
    await assert.rejects(
      migrate(whole.url, 'citus'),
      /the cluster is not whole: \S+:1: the coordinator cannot connect to it: .*docs\/scaling\.md/,
    );
    assert.deepEqual(await whole.query('select from pg_dist_partition'), []);
  });

  it('begins although a worker is away, and says so in its log, to whoever asks, and as the doctor', async () => {
    await using backend = await startBackend();
    const { database } = await backend.replica.describeReplica({});
    assert.equal(database!.engine, 'citus');
    assert.match(database!.cluster!.version, /^\d+\.\d+-\d+$/);
    assert.deepEqual(
      database!.cluster!.nodes.map(({ reachable, takesShards, fault }) => ({ reachable, takesShards, fault })),
      [false, true, true].map(takesShards => ({ reachable: true, takesShards, fault: '' })),
    );
    const healthy = await backupctl(['doctor'], { BACKUPCTL_ADDRESS: backend.address });
    assert.match(healthy.stdout, /ok {3}cluster +Citus \S+, 2 workers\n/);
    assert.match(healthy.stdout, /ok {3}database +PostgreSQL \S+, citus, answers/);

    await backend.database.query(
      'update pg_dist_node set nodeport = 1 where nodeid = (select max(nodeid) from pg_dist_node)',
    );
    const nodes = (await backend.replica.describeReplica({})).database!.cluster!.nodes;
    assert.deepEqual(
      nodes.map(({ reachable }) => reachable),
      [true, true, false],
    );
    assert.match(nodes[2]!.fault, /^the coordinator cannot connect to it: ./);
    const sick = await backupctl(['doctor'], { BACKUPCTL_ADDRESS: backend.address, COLUMNS: '1000' });
    assert.equal(sick.code, 1, sick.stdout);
    assert.match(sick.stdout, /BAD {2}cluster +Citus \S+, 2 workers; \S+:1: the coordinator cannot connect to it/);
    await using service = run(process.execPath, ['src/main.ts'], {
      DATABASE_URL: backend.database.url,
      LISTEN: '127.0.0.1:0',
      SERVICE_LOG: 'warn',
    });
    await ready(service);
    assert.match(service.output(), /:1: the coordinator cannot connect to it/);
  });

  it('does not begin as a role whose statements are planned without their parameters', async () => {
    await using database = await createDatabase();
    const name = new URL(database.url).pathname.slice(1);
    await database.query(`alter database ${name} set plan_cache_mode = force_generic_plan`);
    await assert.rejects(startReplica(database.url), /the role's plan_cache_mode is force_generic_plan: alter role/);
  });

  it('warns of a Citus that is older than what was tried', () => {
    const told = (version: string) => warningsOf({ version, nodes: [] });
    assert.deepEqual(told('13.2-1'), []);
    assert.deepEqual(told('13.10-2'), []);
    assert.deepEqual(told('14.0-1'), []);
    for (const version of ['13.1-1', '12.9-1', '9.5-1'])
      assert.deepEqual(told(version), [`Citus ${version} is older than 13.2, with which this service was tried`]);
  });

  it('that was another one when a replica began, and is this one when that is connected, keeps it from serving', async () => {
    await using database = await createEmptyDatabase();
    await migrate(database.url, 'plain');
    await using gate = await openGate(database.url);
    const starting = startReplica(database.url, {
      ENGINE: 'plain',
      DATABASE_DIRECT_URL: database.url,
      DATABASE_URL: gate.url,
      DATABASE_CONNECT_TIMEOUT: '60s',
    });
    starting.catch(() => {}); // told by whoever waits for it
    await eventually(() => assert.ok(gate.waiting() > 0));
    await moveTo(database.url, 'citus', () => {});
    gate.open();
    await assert.rejects(starting, /the database is citus, and ENGINE is plain/);
  });
});

/** A way to a database on which nothing gets further than its door until that is opened. */
async function openGate(to: string) {
  const { hostname, port } = new URL(to);
  const waiting: Socket[] = [];
  const server = createServer(socket => void waiting.push(socket.on('error', () => {}))).listen(0, '127.0.0.1');
  await once(server, 'listening');
  return {
    url: Object.assign(new URL(to), { port: String((server.address() as AddressInfo).port) }).href,
    waiting: () => waiting.length,
    open() {
      const pass = (socket: Socket) =>
        socket.pipe(connect(Number(port), hostname).on('error', () => socket.destroy())).pipe(socket);
      waiting.forEach(pass);
      server.on('connection', pass);
    },
    async [Symbol.asyncDispose]() {
      for (const socket of waiting) socket.destroy();
      server.close();
    },
  };
}
