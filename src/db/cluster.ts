import type { Sql } from './sql.ts';

/** A cluster of Citus, as its coordinator finds it now. */
export type Cluster = { version: string; nodes: ClusterNode[] };

export type ClusterNode = {
  /** Host and port. */
  address: string;
  reachable: boolean;
  takesShards: boolean;
  /** What is wrong with it, and how to mend that; empty when nothing is. */
  fault: string;
};

/** Fails, and says how to mend it, unless tables can be spread over the nodes. Part of a transaction. */
export async function requireCluster(sql: Sql): Promise<void> {
  const [extension] = await sql({ text: "select from pg_extension where extname = 'citus'", values: [] });
  if (!extension) throw new Error(`the database has no extension citus: create it on every node; ${SEE}`);
  const { nodes } = await readCluster(sql);
  if (!nodes.some(({ takesShards }) => takesShards))
    throw new Error(`the cluster has no node that takes shards: citus_add_node adds one; ${SEE}`);
  const faults = faultsOf(nodes);
  if (faults.length > 0) throw new Error(`the cluster is not whole: ${faults.join('; ')}; ${SEE}`);
}

/** Fails where PostgreSQL makes plans without the parameters, which is good behind PgBouncer: Citus finds the shards by them. */
export async function requirePlans(sql: Sql): Promise<void> {
  const [row] = await sql<{ mode: string }>({ text: "select current_setting('plan_cache_mode') as mode", values: [] });
  if (row!.mode === 'force_generic_plan')
    throw new Error(
      "ENGINE is citus, and the role's plan_cache_mode is force_generic_plan: alter role .. reset plan_cache_mode",
    );
}

/** What somebody should know of a cluster that is worked with: nodes that lack something, and a Citus that is older than what was tried. */
export function warningsOf({ version, nodes }: Cluster): string[] {
  const [major, minor] = version.split(/[.-]/).map(Number) as [number, number];
  const isOlder = major < TRIED[0] || (major === TRIED[0] && minor < TRIED[1]);
  const old = `Citus ${version} is older than ${TRIED.join('.')}, with which this service was tried`;
  return [...(isOlder ? [old] : []), ...faultsOf(nodes)];
}

const faultsOf = (nodes: ClusterNode[]) =>
  nodes.flatMap(({ address, fault }) => (fault ? [`${address}: ${fault}`] : []));

const SEE = 'docs/scaling.md says how to set it up';

/** The version of the extension, its first two numbers. */
const TRIED = [13, 2] as const;

/** Asks all nodes; one that does not answer is away after two seconds. Part of a transaction. */
export async function readCluster(sql: Sql): Promise<Cluster> {
  await sql({ text: "set local citus.node_connection_timeout = '2s'", values: [] });
  const [extension] = await sql<{ version: string }>({
    text: "select extversion as version from pg_extension where extname = 'citus'",
    values: [],
  });
  const rows = await sql<Row>({ text: NODES, values: [] });
  return { version: extension!.version, nodes: rows.map(toNode) };
}

type Row = { address: string; active: boolean; shards: boolean; coordinator: boolean; success: boolean; said: string };

const NODES = `
  select concat(n.nodename, ':', n.nodeport) as address, n.isactive as active, n.shouldhaveshards as shards, n.groupid = 0 as coordinator,
         n.groupid = 0 or coalesce(asked.success, false) as success,
         case n.groupid when 0 then current_setting('max_prepared_transactions') else coalesce(asked.result, '') end as said
  from pg_dist_node n left join run_command_on_workers('show max_prepared_transactions') asked
    on (asked.nodename, asked.nodeport) = (n.nodename, n.nodeport)
  where n.noderole = 'primary' order by n.groupid <> 0, n.nodeid`;

function toNode({ address, active, shards, coordinator, success, said }: Row): ClusterNode {
  const fault = !active
    ? 'it is disabled: citus_activate_node'
    : !success
      ? `the coordinator cannot connect to it: ${said.split('\n')[0]}`
      : said === '0'
        ? 'it commits nothing that is on several nodes: set max_prepared_transactions above its connections'
        : '';
  return { address, reachable: success, takesShards: shards && active && !coordinator, fault };
}
