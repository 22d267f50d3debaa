import { join } from 'node:path';
import type { Client } from '@grpc/grpc-js';
import { LogLevel } from '../src/gen/backup/v1/entry_pb.ts';
import { LogService } from '../src/gen/backup/v1/log_pb.ts';
import { createClient } from '../src/grpc/client.ts';
import { alternate, compare, type Figure } from './figure.ts';
import { LINE, newBackupId } from './raw-append.ts';
import { connect, createDatabase, startProgram, startService } from './service.ts';
import { type Received, subscribe } from './subscribe.ts';

const BATCH = 100;

const sizes = [
  { name: 'fan-out-100', subscribers: 100, batches: 200, goal: 0.5 },
  { name: 'fan-out-10', subscribers: 10, batches: 500, goal: 0.5 },
];

type Size = (typeof sizes)[number];

/**
 * Entries delivered per second to all subscribers of one log together, from the first arrival to the last, while one writer appends batch after
 * batch as fast as they are durable. Each subscriber proves that it got all entries in order. The ceiling is grpc-js alone.
 */
export async function fanOuts(serverUrl: string, rounds: number): Promise<Figure[]> {
  const url = await createDatabase(serverUrl, 'bench_fan_out');
  await using service = await startService(url);
  const channel = connect(service.address);
  const figures: Figure[] = [];
  for (const size of sizes) {
    await using server = await startProgram(join(import.meta.dirname, 'broadcast.ts'), {
      SUBSCRIBERS: String(size.subscribers),
      MESSAGES: String(size.batches),
      SIZE: String(BATCH),
    });
    const contestants = [
      { name: `${size.name} service`, run: () => delivered(service.address, channel, size) },
      { name: `${size.name} grpc-js, encoded once`, run: () => broadcast(server.address, size) },
    ];
    const rates = await alternate(contestants, rounds);
    const [mine, ceiling] = contestants.map(({ name }) => rates.get(name)!);
    figures.push(compare(size.name, mine!, ceiling!, size.goal));
  }
  channel.close();
  return figures;
}

async function delivered(address: string, channel: Client, size: Size): Promise<number> {
  const backupId = newBackupId();
  const { live, received } = subscribe({ address, backupId, ...countsOf(size) });
  await live;
  const logs = createClient(LogService, channel);
  const entries = Array.from({ length: BATCH }, () => ({ level: LogLevel.INFO, message: LINE }));
  for (let n = 0; n < size.batches; n++) await logs.appendLogs({ backupId, entries });
  return rateOf(await received);
}

async function broadcast(address: string, size: Size): Promise<number> {
  const { received } = subscribe({ address, backupId: newBackupId(), ...countsOf(size) });
  return rateOf(await received);
}

function countsOf({ subscribers, batches }: Size): { subscribers: number; lastId: number } {
  return { subscribers, lastId: batches * BATCH };
}

function rateOf({ count, first, last }: Received): number {
  return count / ((last - first) / 1000);
}
