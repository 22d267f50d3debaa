import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import pg from 'pg';
import { alternate, compareCost, type Figure } from './figure.ts';
import { fillControllers, CALLS as GETS, getAll } from './get.ts';
import { claimAndFinish, concurrently, controllersOf } from './lease.ts';
import { grpcLog } from './log.ts';
import { LINE } from './raw-append.ts';
import { modelOf, RUN, runs } from './run-model.ts';
import { connect, createDatabase, processorMs, type Service, startService } from './service.ts';

const SUBSCRIBERS = 100;

/**
 * What one of each costs, for the model in docs/scaling.md: processor time of the replica and of PostgreSQL in µs, and bytes of write-ahead log. The
 * value of `X, replica` is the replica's share, its ceiling that of both; the value of `X, WAL` has the bytes that the caller sent as its ceiling.
 */
export async function costs(serverUrl: string, rounds: number): Promise<Figure[]> {
  const url = await createDatabase(serverUrl, 'bench_costs');
  await using service = await startService(url);
  const channel = connect(service.address);
  const controllers = controllersOf(channel);
  const pool = new pg.Pool({ connectionString: url, max: 1 });
  const { rows } = await pool.query('show data_directory');
  const server = Number(readFileSync(join(rows[0].data_directory, 'postmaster.pid'), 'utf8').split('\n')[0]);
  using log = grpcLog('service', service.address);
  const backupIds = await fillControllers(url);
  const held = await controllers.claimControllers({
    worker: 'bench',
    maxControllers: 64,
    leaseDuration: { seconds: 3600n },
  });
  const leases = held.claimed.map(({ controller, leaseToken }) => ({ backupId: controller!.backupId, leaseToken }));
  const kinds: Record<string, { count: number; bytes: number; act(): Promise<unknown> }> = {
    'append of 1': {
      count: 20_000,
      bytes: LINE.length,
      act: () => concurrently(64, 20_000, caller => log.append(`single ${caller}`, 1)),
    },
    'append of 100, an entry': {
      count: 200_000,
      bytes: LINE.length,
      act: () => concurrently(16, 2_000, caller => log.append(`many ${caller}`, 100)),
    },
    'entry to a live tail': {
      count: 100 * 100 * SUBSCRIBERS,
      bytes: LINE.length,
      async act() {
        const name = crypto.randomUUID();
        const { live, received } = await log.follow(name, SUBSCRIBERS, 10_000);
        await live;
        for (let n = 0; n < 100; n++) await log.append(name, 100);
        await received;
      },
    },
    'message to a live tail': {
      count: 1000 * SUBSCRIBERS,
      bytes: LINE.length,
      async act() {
        const name = crypto.randomUUID();
        const { live, received } = await log.follow(name, SUBSCRIBERS, 1000);
        await live;
        for (let n = 0; n < 1000; n++) await log.append(name, 1);
        await received;
      },
    },
    'claim and finish': {
      count: 2_000,
      bytes: 32,
      async act() {
        await queue(pool, 2_000);
        await concurrently(16, 2_000, () => claimAndFinish(controllers, 'queue'));
      },
    },
    'report of progress': {
      count: 20_000,
      bytes: 64,
      act: () =>
        concurrently(64, 20_000, async (caller, n) => {
          const report = { ...leases[caller]!, progress: (n % 1000) / 1000, reset: true };
          const { results } = await controllers.reportProgress({ reports: [report] });
          if (results[0]?.error) throw new Error(results[0].error.message);
        }),
    },
    'a run': {
      count: 500,
      bytes: RUN.reports * RUN.each * LINE.length,
      async act() {
        await queue(pool, 500);
        await runs(channel, 500);
      },
    },
    get: { count: GETS, bytes: 32, act: () => getAll(channel, backupIds) },
  };
  const contestants = Object.entries(kinds).map(([name, { count, act }]) => ({
    name,
    run: () => costOf(service, server, pool, count, act),
  }));
  contestants.push({
    name: 'a run that others hear of',
    async run() {
      await queue(pool, 500);
      await using hearer = await startService(url);
      const before = processorMs(hearer);
      const costs = await costOf(service, server, pool, 500, () => runs(channel, 500));
      return { ...costs, hearer: ((processorMs(hearer) - before) * 1000) / 500 };
    },
  });
  const measured = await alternate(contestants, rounds, 'µs, bytes');
  channel.close();
  await pool.end();
  const told = Object.entries(kinds).flatMap(([name, { bytes }]) => {
    const of = (what: string) => measured.get(`${name} ${what}`)!;
    return [
      compareCost(`${name}: replica, of both`, of('replica'), of('both'), null, 'µs'),
      compareCost(`${name}: WAL, of what was sent`, of('WAL'), [bytes], null, 'B'),
    ];
  });
  // Whether the parts make the whole: what a run costs, against the sum of what the model has for it.
  const checks = (['replica', 'database', 'both', 'WAL'] as const).map(what =>
    compareCost(
      `a run, of the model: ${what}`,
      measured.get(`a run ${what}`)!,
      modelOf(name => measured.get(`${name} ${what}`)!),
      // Appends of runs that take turns come in smaller groups, which costs PostgreSQL more than the model has and the replica less.
      what === 'both' || what === 'WAL' ? 1.25 : null,
      what === 'WAL' ? 'B' : 'µs',
    ),
  );
  return [...told, ...checks];
}

async function costOf(service: Service, server: number, pool: pg.Pool, count: number, act: () => Promise<unknown>) {
  const before = { replica: processorMs(service), database: serverMs(server), wal: await walBytes(pool) };
  await act();
  const replica = ((processorMs(service) - before.replica) * 1000) / count;
  const database = ((serverMs(server) - before.database) * 1000) / count;
  return { replica, database, both: replica + database, WAL: ((await walBytes(pool)) - before.wal) / count };
}

async function walBytes(pool: pg.Pool): Promise<number> {
  const { rows } = await pool.query("select (pg_current_wal_lsn() - '0/0')::float8 as bytes");
  return rows[0].bytes;
}

/** Processor time of PostgreSQL and all its processes, also of those that have ended, in ms. */
export function serverMs(server: number): number {
  let ticks = 0;
  for (const pid of readdirSync('/proc').filter(name => /^\d+$/.test(name))) {
    const fields = statOf(pid);
    if (Number(pid) === server) ticks += fields.slice(11, 15).reduce((sum, field) => sum + Number(field), 0);
    else if (Number(fields[1]) === server) ticks += Number(fields[11]) + Number(fields[12]);
  }
  return ticks * 10;
}

/** What stands behind the name of a process; empty when it has just gone. */
export function statOf(pid: string): string[] {
  try {
    return readFileSync(`/proc/${pid}/stat`, 'utf8').split(') ').at(-1)!.split(' ');
  } catch {
    return [];
  }
}

async function queue(pool: pg.Pool, jobs: number): Promise<void> {
  await pool.query(
    `insert into backup_controllers (backupid, operation, type, itemid, format, interactive, purpose, userid, status, execution)
     select md5(i::text || random()::text), 'backup', 'course', i, 'queue', 0, 70, 1, 700, 2 from generate_series(1, $1) i`,
    [jobs],
  );
}
