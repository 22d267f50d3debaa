import pg from 'pg';
import { alternate, compareCost, type Figure } from './figure.ts';
import { grpcLog } from './log.ts';
import { appendAndTail, paced, percentiles } from './pace.ts';
import { startLogPeers } from './peers/logs.ts';
import { rawTail } from './raw-tail.ts';
import { createDatabase, startService } from './service.ts';

/**
 * How long an entry takes from the moment at which its append is sent until the client of a subscriber, another process, has it, at 200 appends per
 * second. With the subscriber on the same replica it is held against the answer to the append itself; on another one, against the least that a
 * program without a service needs to tell another one: a NOTIFY and a read. Peers have no second replica.
 */
export async function latencies(serverUrl: string, rounds: number): Promise<Figure[]> {
  const url = await createDatabase(serverUrl, 'bench_latency');
  await using service = await startService(url);
  await using replica = await startService(url);
  await using peers = await startLogPeers(await createDatabase(serverUrl, 'bench_peers'));
  using same = grpcLog('same replica', service.address);
  using other = grpcLog('other replica', service.address, { from: replica.address });
  const pool = new pg.Pool({ connectionString: url, max: 4 });
  const contestants = [same, other, ...peers.logs].map(log => ({ name: log.name, run: () => appendAndTail(log) }));
  const raw = { name: 'raw NOTIFY', run: async () => percentiles('tail', await rawTail(pool, url, paced)) };
  const ms = await alternate([...contestants, raw], rounds, 'ms');
  await pool.end();
  const figure = (name: string, value: string, ceiling: string, goal: number | null) =>
    compareCost(name, ms.get(value)!, ms.get(ceiling)!, goal, 'ms');
  return [
    figure('tail-latency p50', 'same replica tail p50', 'same replica append p50', 1.1),
    figure('tail-latency p99', 'same replica tail p99', 'same replica append p99', 1.5),
    figure('tail-latency-replica p50', 'other replica tail p50', 'raw NOTIFY tail p50', 1.5),
    figure('tail-latency-replica p99', 'other replica tail p99', 'raw NOTIFY tail p99', 2),
    ...peers.logs.flatMap(({ name }) =>
      ['p50', 'p99'].map(share =>
        figure(`tail-latency ${share} : ${name}`, `same replica tail ${share}`, `${name} tail ${share}`, null),
      ),
    ),
  ];
}
