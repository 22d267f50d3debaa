import { join } from 'node:path';
import pg from 'pg';
import { alternate, type Contestant, compare, type Figure } from './figure.ts';
import { type Appender, grpcLog, type Log } from './log.ts';
import { startLogPeers } from './peers/logs.ts';
import { startPostGraphile } from './peers/postgraphile.ts';
import { raw } from './raw-append.ts';
import { createDatabase, startProgram, startService } from './service.ts';

type Size = { name: string; callers: number; batch: number; calls: number; goal: number };

/** Single lines by many callers, each to a backup of its own: beside grpc-js without a service. */
const single: Size[] = [
  { name: 'append-1 at 64', callers: 64, batch: 1, calls: 20_000, goal: 0.95 },
  { name: 'append-1 at 16', callers: 16, batch: 1, calls: 16_000, goal: 0.8 },
];

/** Batches: beside the same rows by the same statement that a program without a service would use. */
const many: Size = { name: 'append-100', callers: 16, batch: 100, calls: 2_000, goal: 0.7 };

export async function appends(serverUrl: string, rounds: number): Promise<Figure[]> {
  const url = await createDatabase(serverUrl, 'bench_append');
  await using service = await startService(url);
  await using program = await startProgram(join(import.meta.dirname, 'echo.ts'), {});
  await using peers = await startLogPeers(await createDatabase(serverUrl, 'bench_peers'));
  await using postGraphile = await startPostGraphile(url);
  using mine = grpcLog('service', service.address);
  using echo = grpcLog('echo', program.address);
  const pool = new pg.Pool({ connectionString: url, max: 4 });
  const [at64, at16] = single as [Size, Size];
  const unnest = { name: `${many.name} raw unnest`, run: () => raw(pool, many) };
  const plain = peers.logs.filter(log => log.name === 'plain service');
  const figures = [
    ...(await beside(at64, mine, turn(echo, at64), [...peers.logs, postGraphile], rounds)),
    ...(await beside(at16, mine, turn(echo, at16), [], rounds)),
    ...(await beside(many, mine, unnest, [...plain, postGraphile], rounds)),
  ];
  await pool.end();
  return figures;
}

async function beside(size: Size, mine: Log, ceiling: Contestant, peers: Appender[], rounds: number) {
  const contestants = [turn(mine, size), ceiling, ...peers.map(log => turn(log, size))];
  const rates = await alternate(contestants, rounds);
  const [own, most, ...theirs] = contestants.map(({ name }) => rates.get(name)!);
  return [
    compare(size.name, own!, most!, size.goal),
    ...theirs.map((rate, i) => compare(`${size.name} : ${peers[i]!.name}`, own!, rate, goalBeside(peers[i]!, size))),
  ];
}

function goalBeside({ name }: Appender, { batch }: Size): number | null {
  return name === 'PostGraphile' && batch === 1 ? 2.5 : null;
}

/** Entries per second. */
function turn(log: Appender, { name, callers, batch, calls }: Size): Contestant {
  // One who inserts row after row would take minutes for what others do in a second.
  const share = batch > 1 && log.name === 'plain service' ? calls / 20 : calls;
  const run = async () => {
    let left = share;
    const start = performance.now();
    await Promise.all(
      Array.from({ length: callers }, async () => {
        const own = crypto.randomUUID();
        while (left-- > 0) await log.append(own, batch);
      }),
    );
    return (share * batch) / ((performance.now() - start) / 1000);
  };
  return { name: `${name} ${log.name}`, run };
}
