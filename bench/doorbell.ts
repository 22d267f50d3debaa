import { existsSync, readFileSync } from 'node:fs';
import pg from 'pg';
import { channelOf, Doorbell } from '../src/db/doorbell.ts';
import { alternate, compareCost, type Figure } from './figure.ts';
import { grpcLog } from './log.ts';
import { appendAndTail, paced } from './pace.ts';
import { startNats } from './peers/nats.ts';
import { startRedis } from './peers/redis.ts';
import { createDatabase, startService } from './service.ts';

/**
 * What it costs to tell other replicas, by NOTIFY and by brokers at 200 appends per second: how long an entry takes to the client of a subscriber on
 * another replica, and what an append takes of PostgreSQL's processors where 1 and 8 replicas listen. Brokers are held against NOTIFY, and NOTIFY
 * against a replica that tells nobody.
 */
export async function doorbells(serverUrl: string, rounds: number): Promise<Figure[]> {
  const url = await createDatabase(serverUrl, 'bench_doorbell');
  await using house = new AsyncDisposableStack();
  const nats = house.use(await startNats());
  const redis = house.use(await startRedis());
  await using silent = await startService(url, { NOTIFY: 'off' });
  using nobody = grpcLog('nobody', silent.address);
  const pool = new pg.Pool({ connectionString: url, max: 1 });
  house.defer(() => pool.end());
  const { rows } = await pool.query("select value from backup_settings where name = 'token_key'");
  const channel = channelOf(rows[0].value);
  const brokers = [
    ...(nats ? [`nats://127.0.0.1:${nats.port}`] : []),
    ...(redis ? [`redis://127.0.0.1:${redis.port}`] : []),
  ];
  const latencies = [];
  const costs = [{ name: 'nobody', run: () => costOf(pool, nobody) }];
  for (const broker of [undefined, ...brokers]) {
    const name = broker ? new URL(broker).protocol.slice(0, -1) : 'NOTIFY';
    const settings = broker ? { DOORBELL_URL: broker } : {};
    const service = house.use(await startService(url, settings));
    const replica = house.use(await startService(url, settings));
    const log = house.use(grpcLog(name, service.address, { from: replica.address }));
    latencies.push({ name, run: () => appendAndTail(log) });
    for (const listeners of [1, 8]) {
      const run = async () => {
        await using others = new AsyncDisposableStack();
        // The replica is the first one.
        for (let i = 1; i < listeners; i++) others.use(listener(broker ?? url, channel));
        return costOf(pool, log);
      };
      costs.push({ name: `${name}, ${listeners} listening`, run });
    }
  }
  const ms = await alternate(latencies, rounds, 'ms');
  const us = await alternate(costs, rounds, 'us');
  const names = brokers.map(broker => new URL(broker).protocol.slice(0, -1));
  return [
    ...names.flatMap(name =>
      ['p50', 'p99'].map(share =>
        compareCost(
          `tail of a replica ${share} by ${name}`,
          ms.get(`${name} tail ${share}`)!,
          ms.get(`NOTIFY tail ${share}`)!,
          null,
          'ms',
        ),
      ),
    ),
    ...costs
      .slice(1)
      .map(({ name }) =>
        compareCost(`PostgreSQL for an append, ${name}`, us.get(name)!, us.get('nobody')!, null, 'us'),
      ),
  ];
}

function listener(url: string, channel: string): Doorbell {
  return new Doorbell({ enabled: true, url, channel, heartbeatMs: 10_000, warn: console.warn });
}

/** Microseconds of processors that PostgreSQL takes for one append. */
async function costOf(pool: pg.Pool, log: { append(log: string, entries: number): Promise<unknown> }): Promise<number> {
  const name = crypto.randomUUID();
  const before = await processorsOf(pool);
  const { sent } = await paced(() => log.append(name, 1));
  const after = await processorsOf(pool);
  const us = [...after].reduce((sum, [pid, ns]) => sum + (ns - (before.get(pid) ?? ns)) / 1000, 0);
  return us / sent.length;
}

/** What PostgreSQL's processes have taken of processors, in nanoseconds: those that serve and those in the background. */
async function processorsOf(pool: pg.Pool): Promise<Map<number, number>> {
  const { rows } = await pool.query('select pid from pg_stat_activity');
  // One that has ended since is none of those that serve.
  const paths = rows.map(({ pid }) => [pid, `/proc/${pid}/schedstat`] as const).filter(([, path]) => existsSync(path));
  return new Map(paths.map(([pid, path]) => [pid, Number(readFileSync(path, 'utf8').split(' ')[0])]));
}
