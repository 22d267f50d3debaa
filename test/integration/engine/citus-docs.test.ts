import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { type Replica, startReplica } from '../../support/backend.ts';
import { Cluster, describeOnCitus } from '../../support/citus.ts';
import { callAll } from '../../support/example-call.ts';
import { run } from '../../support/process.ts';
import { query } from '../../support/query.ts';
import { Subscriber } from '../../support/subscriber.ts';
import { append, newBackupId } from '../../support/writing.ts';
import { pageAt } from '../docs/pages.ts';

describeOnCitus('A cluster, as the documentation sets it up,', () => {
  const name = `backup_${randomBytes(4).toString('hex')}`;
  const coordinator = new URL(process.env['TEST_CITUS_URL']!);
  const cluster = new Cluster(coordinator.href);
  let workers: URL[];
  let walLevel: unknown;
  const settings = { ENGINE: 'citus', MIGRATE: 'off' };
  const as = (role: string, password: string) =>
    Object.assign(new URL(coordinator), { username: `${name}_${role}`, password, pathname: `/${name}` }).href;
  const [migrator, service] = [as('migrator', 'one'), as('service', 'another')];

  before(async () => {
    const rows = await query(
      coordinator.href,
      'select nodename, nodeport from pg_dist_node where groupid <> 0 order by nodeid',
    );
    workers = rows.map(({ nodename, nodeport }) =>
      Object.assign(new URL(coordinator), { hostname: nodename, port: String(nodeport) }),
    );
    assert.ok(workers.length > 1, 'needs a cluster of two workers');
    walLevel = (await query(workers[0]!.href, 'show wal_level'))[0]!['wal_level'];
    for (const node of [coordinator, workers[0]!]) await enter('citus-node', node);
    await enter('citus', coordinator, name);
  });
  after(async () => {
    await cluster.administer(`drop database if exists ${name} with (force)`);
    await cluster.administer(`drop role if exists ${name}_migrator; drop role if exists ${name}_service`);
  });

  it('is laid out by the role that migrates, once', async () => {
    for (const expected of [/^(migrated: Migration\d+\n)+$/, /^the schema is up to date\n$/]) {
      await using cli = run('node', ['src/cli/main.ts', 'migrate', '--to', migrator], { ENGINE: 'citus' });
      assert.equal(await cli.exit(), 0, cli.output());
      assert.match(cli.output(), expected);
    }
  });

  it('is served by the other role, every method of it, which sees how the nodes are', async () => {
    await using replica = await startReplica(service, settings);
    assert.ok((await callAll(replica)).length > 30);
    const { database } = await replica.replica.describeReplica({});
    assert.deepEqual(
      database!.cluster!.nodes.map(({ fault }) => fault),
      ['', ''],
    );
    for (const sql of ['drop table backup_logs', 'truncate backup_logs', 'create table intruder ()'])
      await assert.rejects(query(service, sql), { code: '42501' });
  });

  it('is moved away and back by the role that migrates, and the other one may do then what it might', async () => {
    for (const engine of ['plain', 'citus']) {
      await using cli = run('node', ['src/cli/main.ts', 'engine', engine, '--to', migrator]);
      assert.equal(await cli.exit(), 0, cli.output());
      await using replica = await startReplica(service, { ...settings, ENGINE: engine });
      const backupId = newBackupId();
      await append(replica, backupId, ['as before']);
      assert.equal((await replica.logs.listLogs({ backupId })).entries.length, 1);
      await assert.rejects(query(service, 'truncate backup_logs'), { code: '42501' });
    }
  });

  it('takes one more worker, and shards go there, while logs are appended to and tailed: nothing is lost or doubled', async () => {
    await using replica = await startReplica(service, settings);
    const backupIds = Array.from({ length: 20 }, newBackupId);
    await using subscriber = new Subscriber(replica, { backupIds, follow: true });
    const stop = new AbortController();
    const writing = backupIds.map(backupId => write(replica, backupId, stop.signal));
    await enter('citus-node', workers[1]!);
    await enter('citus-worker', coordinator, name);
    stop.abort();
    const kept = await Promise.all(writing);
    const shards = await query(
      Object.assign(new URL(coordinator), { pathname: `/${name}` }).href,
      `select nodeport::text as port, count(*)::int as shards from pg_dist_shard join pg_dist_placement using (shardid) join pg_dist_node using (groupid)
       where logicalrelid = 'backup_logs'::regclass group by 1 order by 1`,
    );
    assert.deepEqual(
      shards.map(({ port }) => port),
      workers.map(({ port }) => port).sort(),
    );
    for (const [i, backupId] of backupIds.entries()) {
      const { entries } = await replica.logs.listLogs({ backupId, pageSize: 1000 });
      assert.deepEqual(
        entries.map(({ id, message }) => [id, message]),
        Array.from({ length: Math.min(kept[i]!, 1000) }, (_, n) => [BigInt(n + 1), String(n)]),
      );
    }
    await subscriber.received(kept.reduce((sum, n) => sum + n));
  });

  it('has moments that all nodes can be restored to', async () => {
    await enter('citus-moment', coordinator, name);
  });

  /** Enters the blocks of a kind as a superuser of the node, with names of this test's own. */
  async function enter(kind: string, node: URL, database = 'postgres'): Promise<void> {
    const blocks = pageAt('docs/scaling.md').blocks.filter(({ language }) => language === `sql ${kind}`);
    assert.ok(blocks.length > 0, kind);
    const url = Object.assign(new URL(node), { pathname: `/${database}` });
    for (const statement of blocks
      .map(({ text }) => text)
      .join('')
      .split(/;\n|(?<=^\\connect .*)\n/m)) {
      // Without the WAL that the documentation wants of nodes, shards are moved while nobody writes to them.
      const own = named(statement).replace(
        'rebalance_start()',
        walLevel === 'logical' ? '$&' : `rebalance_start(shard_transfer_mode => 'block_writes')`,
      );
      const connect = /^\\connect (\w+)$/.exec(own.trim());
      if (connect) url.pathname = `/${connect[1]}`;
      else if (own.trim()) await query(url.href, own);
    }
  }

  function named(sql: string): string {
    const hosts = { coordinator, 'worker-1': workers[0]!, 'worker-2': workers[1]! };
    return Object.entries(hosts)
      .reduce(
        (text, [host, { hostname, port }]) =>
          text.replaceAll(`'${host}.example.org', 5432`, () => `'${hostname}', ${port}`),
        sql,
      )
      .replaceAll(/\bbackup(?=_migrator|_service|[; ]|$)/gm, name);
  }
});

/** Until it is told to stop; how many entries were acknowledged. */
async function write(replica: Replica, backupId: string, signal: AbortSignal): Promise<number> {
  let kept = 0;
  while (!signal.aborted) {
    await append(replica, backupId, [String(kept)]);
    kept++;
  }
  return kept;
}
