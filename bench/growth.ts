import { readFileSync } from 'node:fs';
import pg from 'pg';
import type { Engine } from '../src/db/engine.ts';
import { migrate } from '../src/db/migrate.ts';
import { sqlOn } from '../src/db/sql.ts';
import { append } from '../src/log/append.ts';
import { appendFree } from '../src/log/free.ts';
import { alternate, compareCost, type Figure } from './figure.ts';
import { LINE } from './raw-append.ts';

/**
 * What an append costs PostgreSQL while the table grows, on every engine of one machine: time of its process, bytes of its journal (WAL), and pages that it has
 * read from the disk or the system's cache. Entries are appended to the logs that were made last, as those of a night are, one alone or those of 32
 * calls together. Each log was appended to since the last checkpoint: the first change of a page writes all of it, however large the table is.
 */
export async function growth(url: string, rounds: number): Promise<Figure[]> {
  await using server = await connect(url);
  for (const setting of STILL) await server.client.query(`alter system set ${setting}`);
  await server.client.query('select pg_reload_conf()');
  const figures = [];
  try {
    for (const engine of ON_ONE_MACHINE) figures.push(...(await measured(server, url, engine, rounds)));
  } finally {
    await server.client.query('alter system reset all');
    await server.client.query('select pg_reload_conf()');
  }
  return figures;
}

const ON_ONE_MACHINE: Engine[] = ['plain', 'partitioned'];

/** Nobody else is to write while it is measured. */
const STILL = ['autovacuum = off', "checkpoint_timeout = '1h'", "max_wal_size = '32GB'"];

const SIZES = [100_000, 1_000_000, 10_000_000];

/** Entries of a log, and logs that are appended to. */
const PER_LOG = 100;
const ACTIVE = 500;

async function measured(server: Connection, url: string, engine: Engine, rounds: number): Promise<Figure[]> {
  // All sizes are there at the same time and are appended to in turn: a machine that becomes slower does so for all of them.
  await using made = new AsyncDisposableStack();
  const connections: Connection[] = [];
  for (const size of SIZES) {
    const name = `bench_growth_${engine}_${size}`;
    await server.client.query(`create database ${name}`);
    made.defer(async () => void (await server.client.query(`drop database ${name} with (force)`)));
    const own = Object.assign(new URL(url), { pathname: `/${name}` }).href;
    await migrate(own, engine);
    const connection = made.use(await connect(own));
    await fill(connection.client, size / PER_LOG);
    const { room, levels } = await sizeOf(connection.client);
    console.log(
      `  ${name.padEnd(32)} ${room.toFixed(0)} bytes for an entry, ${levels} levels above the leaves of the index`,
    );
    connections.push(connection);
  }
  await server.client.query('checkpoint');
  const contestants = [];
  for (const [i, connection] of connections.entries())
    contestants.push({ name: `${engine} ${SIZES[i]!.toExponential()}`, run: await appender(connection) });
  const costs = await alternate(contestants, rounds, 'us, bytes');
  const [small, ...larger] = SIZES.map(size => `${engine} ${size.toExponential()}`);
  return ways.flatMap(({ name }) =>
    [PROCESS, WAL].flatMap(kind =>
      larger.map(large => {
        const [grown, first] = [large, small].map(size => costs.get(`${size} ${name}, ${kind}`)!);
        const goal = engine === 'partitioned' ? 1.2 : null;
        return compareCost(
          `${name}, ${kind}: ${large} to ${small}`,
          grown!,
          first!,
          goal,
          kind === WAL ? 'bytes' : 'us',
        );
      }),
    ),
  );
}

const [PROCESS, WAL, PAGES] = ['process', 'WAL', 'pages'] as const;

/** How entries are appended: so many calls a round, of so many appends each. */
const ways = [
  { name: 'alone', calls: 1000, each: 1 },
  { name: 'of 32', calls: 200, each: 32 },
];

/** So many logs, in the order of their ids. */
async function fill(client: pg.Client, logs: number): Promise<void> {
  await client.query(`
    insert into backup_log_heads (backupid, lastid, lastmicros)
    select md5(i::text), ${PER_LOG}, 1 from generate_series(1, ${logs}) i;
    insert into backup_logs (backupid, id, loglevel, message, created_at)
    select log.backupid, id, 40, '${LINE}', 1700000000
    from (select md5(i::text) as backupid from generate_series(1, ${logs}) i order by 1) log, generate_series(1, ${PER_LOG}) id`);
  await client.query('vacuum analyze');
}

/** Bytes that table and index take for an entry, and how high the index is; of the largest partition, where there are any. */
async function sizeOf(client: pg.Client): Promise<{ room: number; levels: number }> {
  await client.query('create extension pageinspect');
  const { rows } = await client.query(`
    with part as (select 'backup_logs'::regclass as relid union select inhrelid from pg_inherits where inhparent = 'backup_logs'::regclass)
    select (select sum(pg_total_relation_size(relid))::float8 / (select count(*) from backup_logs) from part) as room,
           (select max((bt_metap(c.relname)).level)::int from part join pg_index i on i.indrelid = relid
            join pg_class c on c.oid = i.indexrelid and c.relkind = 'i') as levels`);
  return rows[0];
}

/** Appends as often as a round has it, and returns what one entry has cost, by way and kind. */
async function appender({ client, pid }: Connection): Promise<() => Promise<Record<string, number>>> {
  const { rows } = await client.query(`select backupid from backup_log_heads order by ctid desc limit ${ACTIVE}`);
  const logs: string[] = rows.map(row => row.backupid);
  const entries = [{ level: 40, message: LINE, at: undefined }];
  const sql = sqlOn(client);
  for (const backupId of [...logs, ...logs]) await append(sql, backupId, entries);
  let next = 0;
  const log = () => logs[next++ % logs.length]!;
  const one = () => ({ backupId: log(), entries, leaseToken: '' });
  return async () => {
    const costs: Record<string, number> = {};
    for (const { name, calls, each } of ways) {
      const before = await spent(client, pid);
      for (let i = 0; i < calls; i++) {
        if (each === 1) await append(sql, log(), entries);
        else await appendFree(sql, Array.from({ length: each }, one));
      }
      const after = await spent(client, pid);
      for (const kind of [PROCESS, WAL, PAGES])
        costs[`${name}, ${kind}`] = (after[kind] - before[kind]) / (calls * each);
    }
    return costs;
  };
}

/** So far: microseconds of the server's process, bytes of the journal, pages read. */
async function spent(
  client: pg.Client,
  pid: number,
): Promise<Record<typeof PROCESS | typeof WAL | typeof PAGES, number>> {
  await client.query('select pg_stat_force_next_flush()');
  const { rows } = await client.query(`
    select pg_wal_lsn_diff(pg_current_wal_insert_lsn(), '0/0')::float8 as wal,
           (select blks_read::float8 from pg_stat_database where datname = current_database()) as pages`);
  return { process: processTime(pid), WAL: rows[0].wal, pages: rows[0].pages };
}

/** In microseconds; Linux only. */
function processTime(pid: number): number {
  return Number(readFileSync(`/proc/${pid}/schedstat`, 'utf8').split(' ')[0]) / 1000;
}

type Connection = AsyncDisposable & { client: pg.Client; pid: number };

/** One that plans as the service's hot pool does. */
async function connect(url: string): Promise<Connection> {
  const client = new pg.Client({ connectionString: url, options: '-c plan_cache_mode=force_generic_plan' });
  await client.connect();
  const { rows } = await client.query('select pg_backend_pid() as pid');
  return { client, pid: rows[0].pid, [Symbol.asyncDispose]: () => client.end() };
}
