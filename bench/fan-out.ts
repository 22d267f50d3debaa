import { join } from 'node:path';
import { alternate, compare, type Figure } from './figure.ts';
import { grpcLog, type Log } from './log.ts';
import { startLogPeers } from './peers/logs.ts';
import { createDatabase, startProgram, startService } from './service.ts';
import type { Received } from './subscribe.ts';

const BATCH = 100;

const sizes = [
  { name: 'fan-out-100', subscribers: 100, batches: 200, goal: 0.5 },
  // Told only: with so few subscribers the writer, who waits for each batch to be durable, is what takes the time.
  { name: 'fan-out-10', subscribers: 10, batches: 500, goal: null },
];

type Size = (typeof sizes)[number];

/**
 * Entries delivered per second to all subscribers of one log together, from the first arrival to the last, while one writer appends batch after
 * batch as fast as they are durable. Each subscriber proves that it got all entries in order. The ceiling is grpc-js alone.
 */
export async function fanOuts(serverUrl: string, rounds: number): Promise<Figure[]> {
  const url = await createDatabase(serverUrl, 'bench_fan_out');
  await using service = await startService(url);
  await using peers = await startLogPeers(await createDatabase(serverUrl, 'bench_peers'));
  using mine = grpcLog('service', service.address);
  const figures: Figure[] = [];
  for (const size of sizes) {
    await using server = await startProgram(join(import.meta.dirname, 'broadcast.ts'), {
      SUBSCRIBERS: String(size.subscribers),
      MESSAGES: String(size.batches),
      SIZE: String(BATCH),
    });
    using ceiling = grpcLog('grpc-js, encoded once', server.address);
    const others = size.subscribers === 100 ? peers.logs : [];
    const contestants = [mine, ceiling, ...others].map(log => ({
      name: `${size.name} ${log.name}`,
      run: () => (log === ceiling ? broadcast(log, size) : delivered(log, size)),
    }));
    const rates = await alternate(contestants, rounds);
    const figure = (name: string, log: Log, goal: number | null) =>
      compare(name, rates.get(`${size.name} service`)!, rates.get(`${size.name} ${log.name}`)!, goal);
    figures.push(figure(size.name, ceiling, size.goal));
    for (const log of others)
      figures.push(figure(`${size.name} : ${log.name}`, log, log.name === 'Redis Streams' ? 1.4 : null));
  }
  return figures;
}

async function delivered(log: Log, size: Size): Promise<number> {
  const { subscribers } = size;
  const batches = log.name === 'plain service' ? size.batches / 10 : size.batches; // it inserts row after row
  const name = crypto.randomUUID();
  const { live, received } = await log.follow(name, subscribers, batches * BATCH);
  await live;
  for (let n = 0; n < batches; n++) await log.append(name, BATCH);
  return rateOf(await received);
}

/** Begins by itself when all subscribers are there. */
async function broadcast(log: Log, { subscribers, batches }: Size): Promise<number> {
  const { received } = await log.follow(crypto.randomUUID(), subscribers, batches * BATCH);
  return rateOf(await received);
}

function rateOf({ count, first, last }: Received): number {
  return count / ((last - first) / 1000);
}
