import { setTimeout as delay } from 'node:timers/promises';
import pg from 'pg';
import { alternate, compareCost, type Figure } from './figure.ts';
import { claimAndFinish, controllersOf } from './lease.ts';
import { connect, createDatabase, processorMs, type Service, startService } from './service.ts';

const COUNTS = [1, 2, 4, 8];
const IDLE_MS = 10_000;
/** Runs a second over all replicas, for so many seconds. */
const PACE = { perSecond: 100, seconds: 10 };
const RUNS = PACE.perSecond * PACE.seconds;

/**
 * What each of several replicas costs: sweepers, retention and doorbell when nothing happens, on 10,000 courses and 1,000 finished runs, and then the
 * claims and finishes of a fixed number of runs a second, spread over all of them. Every replica hears of every change, which PostgreSQL counts as
 * a transaction of whoever listens; one that is alone tells nobody, so transactions are held against those of two.
 */
export async function replicas(serverUrl: string, rounds: number): Promise<Figure[]> {
  const url = await createDatabase(serverUrl, 'bench_replicas');
  const measured = await alternate(
    COUNTS.map(count => ({ name: `${count}`, run: () => measure(url, count) })),
    rounds,
    '',
  );
  const figures = (what: string, unit: string, goal: number | null, least: number) =>
    COUNTS.filter(count => count > least).map(count => {
      const [many, few] = [count, least].map(n => measured.get(`${n} ${what}`)!);
      return compareCost(`${what}, ${count} replicas : ${least}`, many!, few!, goal, unit);
    });
  return [
    ...figures('idle: processor of a replica', 'ms/s', 1.2, 1),
    ...figures('idle: transactions of a replica', '1/s', 1.2, 1),
    ...figures('runs: processor of a replica', 'ms/s', 1.2, 1),
    ...figures('runs: transactions of a replica', '1/s', 1.2, 2),
    ...figures('processor of all for a run', 'ms', null, 1),
    ...figures('transactions for a run', '', null, 1),
  ];
}

async function measure(url: string, count: number): Promise<Record<string, number>> {
  await using all = new AsyncDisposableStack();
  const services: Service[] = [];
  for (let i = 0; i < count; i++) services.push(all.use(await startService(url)));
  const pool = new pg.Pool({ connectionString: url, max: 1 });
  all.defer(() => pool.end());
  await fill(pool);
  // Until what they do once at their start is done.
  await delay(3000);
  const idle = await during(pool, services, () => delay(IDLE_MS));
  const busy = await during(pool, services, () => work(services));
  const seconds = IDLE_MS / 1000;
  // What they do by themselves meanwhile is not the runs'.
  const own = (what: 'processorMs' | 'transactions') => (idle[what] / idle.ms) * busy.ms;
  return {
    'idle: processor of a replica': idle.processorMs / count / seconds,
    'idle: transactions of a replica': idle.transactions / count / seconds,
    'runs: processor of a replica': busy.processorMs / count / (busy.ms / 1000),
    'runs: transactions of a replica': busy.transactions / count / (busy.ms / 1000),
    'processor of all for a run': (busy.processorMs - own('processorMs')) / RUNS,
    'transactions for a run': (busy.transactions - own('transactions')) / RUNS,
  };
}

type Cost = { ms: number; processorMs: number; transactions: number };

async function during(pool: pg.Pool, services: Service[], act: () => Promise<unknown>): Promise<Cost> {
  const total = () => services.reduce((sum, service) => sum + processorMs(service), 0);
  const [processor, transactions, began] = [total(), await committed(pool), performance.now()];
  await act();
  const ms = performance.now() - began;
  return { ms, processorMs: total() - processor, transactions: (await committed(pool)) - transactions };
}

/** Transactions of the database so far. What its processes have counted is there after a second at the latest. */
async function committed(pool: pg.Pool): Promise<number> {
  await delay(1500);
  const { rows } = await pool.query(
    'select (xact_commit + xact_rollback)::int as n from pg_stat_database where datname = current_database()',
  );
  return rows[0].n;
}

async function work(services: Service[]): Promise<void> {
  const channels = services.map(({ address }) => connect(address));
  const clients = channels.map(controllersOf);
  const began = performance.now();
  const runs: Promise<void>[] = [];
  for (let i = 0; i < RUNS; i++) {
    await delay(Math.max(0, began + (i * 1000) / PACE.perSecond - performance.now()));
    runs.push(claimAndFinish(clients[i % clients.length]!));
  }
  await Promise.all(runs);
  for (const channel of channels) channel.close();
}

async function fill(pool: pg.Pool): Promise<void> {
  await pool.query('truncate backup_controllers, backup_courses, backup_log_heads, backup_logs');
  const rows = (status: number, count: number, changed: string) =>
    pool.query(
      `insert into backup_controllers (backupid, operation, type, itemid, format, interactive, purpose, userid, status, execution, controller, updated_at)
       select md5(i::text || random()::text), 'backup', 'course', i, 'moodle2', 0, 70, 1, ${status}, 2, '', ${changed} from generate_series(1, $1) i`,
      [count],
    );
  const now = 'extract(epoch from now())::bigint';
  await rows(700, RUNS, now);
  await rows(1000, 1000, now);
  await pool.query(
    `insert into backup_courses (courseid, nextstarttime) select i, ${now} + 86400 from generate_series(1, 10000) i`,
  );
  await pool.query('vacuum analyze');
}
