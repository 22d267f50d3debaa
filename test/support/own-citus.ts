import { existsSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { type EmbeddedPostgres, startEmbeddedPostgres } from '../../src/db/embedded.ts';
import { migrate } from '../../src/db/migrate.ts';
import { Cluster } from './citus.ts';
import type { Database } from './database.ts';
import { fastFolder } from './fast-folder.ts';
import { query } from './query.ts';

const BIN = process.env['TEST_CITUS_BIN'] ?? '/usr/lib/postgresql/15/bin';

/** Whether a PostgreSQL with Citus is installed here (TEST_CITUS_BIN has its programs). */
export const canStartCitus = existsSync(join(BIN, '..', 'lib', 'citus.so'));

/** A cluster of a test's own, that may be broken: a coordinator, which holds no logs, and one node, which holds all; with a migrated database. */
export async function startOwnCitus(): Promise<Database> {
  await using starting = new AsyncDisposableStack();
  const folder = mkdtempSync(join(fastFolder(), 'backup-management-citus-'));
  starting.defer(() => rmSync(folder, { recursive: true, force: true }));
  const [coordinator, node] = await Promise.all(
    ['coordinator', 'node'].map(async name => starting.use(await startNode(join(folder, name)))),
  );
  const { hostname, port } = new URL(node!.url);
  for (const { url } of [coordinator!, node!]) await query(url, 'create extension citus');
  await query(coordinator!.url, `select citus_add_node('${hostname}', ${port})`);
  await new Cluster(coordinator!.url).create('backup');
  const url = Object.assign(new URL(coordinator!.url), { pathname: '/backup' }).href;
  await migrate(url, 'citus');
  const open = starting.move();
  return {
    url,
    query: (sql, values) => query(url, sql, values),
    [Symbol.asyncDispose]: () => open.disposeAsync(),
  };
}

async function startNode(dataDir: string): Promise<EmbeddedPostgres> {
  const settings = {
    shared_preload_libraries: 'citus',
    max_prepared_transactions: '100',
    max_connections: '100',
    'citus.shard_count': '2',
    'citus.node_conninfo': 'sslmode=disable',
    // What was committed is there when its processes were killed.
    synchronous_commit: 'on',
  };
  const node = await startEmbeddedPostgres({ dataDir, durable: false, settings, binDir: BIN });
  // The nodes have no passwords for each other.
  writeFileSync(join(dataDir, 'cluster', 'pg_hba.conf'), 'host all all 127.0.0.1/32 trust\n');
  await query(node.url, 'select pg_reload_conf()');
  return node;
}
