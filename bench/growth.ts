import { readFileSync } from 'node:fs';
import pg from 'pg';
import type { Engine } from '../src/db/engine.ts';
import { migrate } from '../src/db/migrate.ts';
import { sqlOn } from '../src/db/sql.ts';
import { append } from '../src/log/append.ts';
import { appendFree } from '../src/log/free.ts';
import { compareCost, type Figure } from './figure.ts';
import { LINE } from './raw-append.ts';

/**
 * What an append costs PostgreSQL while the table grows, on every engine of one machine: time of its process, bytes of its journal (WAL), and pages that it has
 * read from the disk or the system's cache. Entries are appended to logs that are there already, one alone or those of 32 calls together. Each
 * log was appended to since the last checkpoint: the first change of a page writes all of it, however large the table is.
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
  const name = `bench_growth_${engine}`;
  await server.client.query(`create database ${name}`);
  const own = Object.assign(new URL(url), { pathname: `/${name}` }).href;
  const costs = new Map<string, number[][]>();
  try {
    await migrate(own, engine);
    await using connection = await connect(own);
    for (const [i, size] of SIZES.entries()) {
      await fill(connection.client, (SIZES[i - 1] ?? 0) / PER_LOG, size / PER_LOG);
      for (const [kind, one] of await costsOf(connection, rounds)) {
        costs.set(kind, [...(costs.get(kind) ?? []), one]);
        const told = one.map(cost => cost.toFixed(cost < 100 ? 2 : 0)).join(' ');
        console.log(`  ${engine.padEnd(12)} ${size.toExponential().padEnd(5)} entries  ${kind.padEnd(28)} (${told})`);
      }
    }
  } finally {
    await server.client.query(`drop database ${name} with (force)`);
  }
  return [...costs].flatMap(([kind, [small, ...larger]]) => {
    if (kind.endsWith(PAGES)) return []; // nearly none: there is nothing to compare
    const unit = kind.endsWith(WAL) ? 'bytes' : 'us';
    return larger.map((large, i) => {
      const what = `${engine}, ${kind}: ${SIZES[i + 1]!.toExponential()} to 1e+5`;
      return compareCost(what, large, small!, engine === 'partitioned' ? 1.2 : null, unit);
    });
  });
}

const [PROCESS, WAL, PAGES] = ['process', 'WAL', 'pages'] as const;

/** Logs from one number to another one, in the order of their ids. */
async function fill(client: pg.Client, from: number, to: number): Promise<void> {
  await client.query(`
    insert into backup_log_heads (backupid, lastid, lastmicros)
    select md5(i::text), ${PER_LOG}, 1 from generate_series(${from + 1}, ${to}) i;
    insert into backup_logs (backupid, id, loglevel, message, created_at)
    select log.backupid, id, 40, '${LINE}', 1700000000
    from (select md5(i::text) as backupid from generate_series(${from + 1}, ${to}) i order by 1) log, generate_series(1, ${PER_LOG}) id`);
  await client.query('vacuum analyze');
}

/** Of one entry, by what it is; ascending. */
async function costsOf({ client, pid }: Connection, rounds: number): Promise<Map<string, number[]>> {
  const { rows } = await client.query(`select backupid from backup_log_heads order by random() limit ${ACTIVE}`);
  const logs: string[] = rows.map(row => row.backupid);
  const entries = [{ level: 40, message: LINE, at: undefined }];
  const sql = sqlOn(client);
  await client.query('checkpoint');
  for (const backupId of [...logs, ...logs]) await append(sql, backupId, entries);
  let next = 0;
  const log = () => logs[next++ % logs.length]!;
  const ways = {
    alone: { calls: 1000, each: 1, run: () => append(sql, log(), entries) },
    'of 32': {
      calls: 200,
      each: 32,
      run: () =>
        appendFree(
          sql,
          Array.from({ length: 32 }, () => ({ backupId: log(), entries, leaseToken: '' })),
        ),
    },
  };
  const costs = new Map<string, number[]>();
  for (const [way, { calls, each, run }] of Object.entries(ways))
    for (let round = 0; round < rounds; round++) {
      const before = await spent(client, pid);
      for (let i = 0; i < calls; i++) await run();
      const after = await spent(client, pid);
      for (const kind of [PROCESS, WAL, PAGES])
        costs.set(`${way}, ${kind}`, [
          ...(costs.get(`${way}, ${kind}`) ?? []),
          (after[kind] - before[kind]) / (calls * each),
        ]);
    }
  return new Map([...costs].map(([kind, all]) => [kind, all.toSorted((a, b) => a - b)]));
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
