import type { Database } from './database.ts';
import { query } from './query.ts';

/** The nodes of the cluster of TEST_CITUS_URL, the coordinator first: it names every one of them in `pg_dist_node` of that database. */
export class Cluster {
  readonly #coordinator: string;
  #workers: { host: string; port: number }[] | undefined;

  constructor(coordinator: string) {
    this.#coordinator = coordinator;
  }

  /** Runs SQL on every node, in the database of administrators. */
  async administer(sql: string): Promise<void> {
    const urls = [this.#coordinator, ...(await this.#nodes()).map(node => this.#urlOf(node))];
    await Promise.all(urls.map(url => query(url, sql)));
  }

  /** A database with the extension on every node, which know each other in it. */
  async create(name: string): Promise<void> {
    await this.administer(`create database ${name}`);
    const nodes = await this.#nodes();
    for (const node of [undefined, ...nodes]) await query(this.#urlOf(node, name), 'create extension citus');
    const { hostname, port } = new URL(this.#coordinator);
    const adding = nodes.map(({ host, port }) => `select citus_add_node('${host}', ${port});`);
    const url = this.#urlOf(undefined, name);
    // Roles are the same already; two who tell the nodes of them at once get in each other's way ("tuple concurrently updated").
    const quiet = 'set citus.enable_create_role_propagation = off; set citus.enable_alter_role_propagation = off;';
    await query(url, `${quiet} select citus_set_coordinator_host('${hostname}', ${port}); ${adding.join(' ')}`);
  }

  /** A copy with what the nodes know of each other and of the shards; some 200 ms. */
  async clone(name: string, template: string): Promise<void> {
    // Citus has connections of its own to every database that has been used.
    await this.administer(`select pg_terminate_backend(pid) from pg_stat_activity where datname = '${template}'`);
    await this.administer(`create database ${name} template ${template} strategy file_copy`);
  }

  async #nodes(): Promise<{ host: string; port: number }[]> {
    this.#workers ??= (await query(
      this.#coordinator,
      'select nodename as host, nodeport as port from pg_dist_node where groupid <> 0 order by nodeid',
    )) as { host: string; port: number }[];
    if (this.#workers.length === 0) throw new Error('the database of TEST_CITUS_URL knows no worker (citus_add_node)');
    return this.#workers;
  }

  #urlOf(node: { host: string; port: number } | undefined, database?: string): string {
    const url = new URL(this.#coordinator);
    if (node) [url.hostname, url.port] = [node.host, String(node.port)];
    if (database) url.pathname = `/${database}`;
    return url.href;
  }
}

/** The other nodes of the cluster of a database, each with SQL on it, in the database of that name there. */
export async function workersOf(database: Database): Promise<WorkerNode[]> {
  const nodes = await database.query('select nodename, nodeport from pg_dist_node where groupid <> 0 order by nodeid');
  return nodes.map(({ nodename, nodeport }) => {
    const url = Object.assign(new URL(database.url), { hostname: nodename, port: String(nodeport) }).href;
    return { port: nodeport as number, query: (sql, values) => query(url, sql, values) };
  });
}

export type WorkerNode = { port: number; query: Database['query'] };

/** What needs a cluster; said aloud when there is none. */
export function describeOnCitus(title: string, body: (this: Mocha.Suite) => void): void {
  if (process.env['ENGINE'] === 'citus') describe(title, body);
  else console.warn(`LEFT OUT, for it needs ENGINE=citus and TEST_CITUS_URL: ${title}`);
}
