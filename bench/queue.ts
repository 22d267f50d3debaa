import { execFileSync } from 'node:child_process';
import { join } from 'node:path';
import type { Client } from '@grpc/grpc-js';
import pg from 'pg';
import { ControllerService, Outcome } from '../src/gen/backup/v1/controller_pb.ts';
import { createClient } from '../src/grpc/client.ts';
import { alternate, type Contestant, compare, type Figure } from './figure.ts';
import { installPeers } from './peers/install.ts';
import { rawWorker } from './raw-queue.ts';
import { connect, createDatabase, startService } from './service.ts';

type Size = { name: string; workers: number; batch: number; jobs: number; goal: number };

const sizes: Size[] = [
  { name: 'claim-1', workers: 16, batch: 1, jobs: 8_000, goal: 1 },
  { name: 'claim-100', workers: 4, batch: 100, jobs: 40_000, goal: 0.85 },
];

/** Claims and finishes until the queue is empty: the service, the same in plain SQL, and two queues that are libraries. */
export async function queue(serverUrl: string, rounds: number): Promise<Figure[]> {
  installPeers();
  const url = await createDatabase(serverUrl, 'bench_queue');
  const peersUrl = await createDatabase(serverUrl, 'bench_peers');
  await using service = await startService(url);
  const channel = connect(service.address);
  const pool = new pg.Pool({ connectionString: url, max: 20 });
  const figures: Figure[] = [];
  for (const size of sizes) {
    const { name, goal } = size;
    const contestants: Contestant[] = [
      { name: `${name} service`, run: () => measure(pool, size, serviceWorker(channel, size)) },
      { name: `${name} raw SQL`, run: () => measure(pool, size, rawWorker(pool, size.batch)) },
      { name: `${name} pg-boss`, run: () => peer('pg-boss', peersUrl, size) },
      { name: `${name} graphile-worker`, run: () => peer('graphile-worker', peersUrl, size) },
    ];
    const rates = await alternate(contestants, rounds);
    const [mine, raw, ...peers] = contestants.map(contestant => rates.get(contestant.name)!);
    figures.push(compare(name, mine!, raw!, goal));
    for (const [i, rate] of peers.entries())
      figures.push(compare(`${contestants[0]!.name} : ${contestants[i + 2]!.name}`, mine!, rate, 1));
  }
  channel.close();
  await pool.end();
  return figures;
}

/** Does some of the work; how many were done, 0 when there is nothing left. */
type Worker = () => Promise<number>;

async function measure(pool: pg.Pool, { workers, jobs }: Size, worker: Worker): Promise<number> {
  await fill(pool, jobs);
  const start = performance.now();
  const counts = await Promise.all(
    Array.from({ length: workers }, async () => {
      let count = 0;
      for (let done = await worker(); done > 0; done = await worker()) count += done;
      return count;
    }),
  );
  const seconds = (performance.now() - start) / 1000;
  const done = counts.reduce((sum, count) => sum + count, 0);
  const { rows } = await pool.query('select count(*)::int as n from backup_controllers where status = 1000');
  if (done !== jobs || rows[0].n !== jobs) throw new Error(`${done} of ${jobs} done, ${rows[0].n} finished`);
  return jobs / seconds;
}

async function fill(pool: pg.Pool, jobs: number): Promise<void> {
  await pool.query('truncate backup_controllers, backup_log_heads, backup_logs');
  await pool.query(
    `insert into backup_controllers (backupid, operation, type, itemid, format, interactive, purpose, userid, status, execution, controller)
     select md5(i::text || random()::text), 'backup', 'course', i, 'moodle2', 0, 70, 1, 700, 2, repeat('x', 200) from generate_series(1, $1) i`,
    [jobs],
  );
  await pool.query('vacuum analyze backup_controllers, backup_log_heads');
  await pool.query('checkpoint');
}

function serviceWorker(channel: Client, { batch }: Size): Worker {
  const client = createClient(ControllerService, channel);
  return async () => {
    const { claimed } = await client.claimControllers({ worker: 'bench', maxControllers: batch });
    if (claimed.length === 0) return 0;
    const finishes = claimed.map(({ controller, leaseToken }) => ({
      backupId: controller!.backupId,
      leaseToken,
      outcome: Outcome.SUCCEEDED,
    }));
    const { results } = await client.finishControllers({ finishes });
    return results.filter(({ error }) => !error).length;
  };
}

const peersFolder = join(import.meta.dirname, 'peers');

async function peer(name: string, url: string, { jobs, workers, batch }: Size): Promise<number> {
  const args = [join(peersFolder, `${name}.js`), url, jobs, workers, batch].map(String);
  const output = execFileSync(process.execPath, args, {
    cwd: peersFolder,
    encoding: 'utf8',
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  return Number(output.trim().split('\n').at(-1));
}
