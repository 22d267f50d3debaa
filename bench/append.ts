import { join } from 'node:path';
import type { Client } from '@grpc/grpc-js';
import pg from 'pg';
import { LogLevel } from '../src/gen/backup/v1/entry_pb.ts';
import { LogService } from '../src/gen/backup/v1/log_pb.ts';
import { createClient } from '../src/grpc/client.ts';
import { alternate, compare, type Figure } from './figure.ts';
import { LINE, newBackupId, raw } from './raw-append.ts';
import { connect, createDatabase, startProgram, startService } from './service.ts';

type Size = { name: string; callers: number; batch: number; calls: number };

/** Single lines by many callers, each to a backup of its own: beside grpc-js without a service. */
const single: (Size & { goal: number })[] = [
  { name: 'append-1 at 64', callers: 64, batch: 1, calls: 20_000, goal: 0.95 },
  { name: 'append-1 at 16', callers: 16, batch: 1, calls: 16_000, goal: 0.8 },
];

/** Batches: beside the same rows by the same statement that a program without a service would use. */
const many: Size = { name: 'append-100', callers: 16, batch: 100, calls: 2_000 };

export async function appends(serverUrl: string, rounds: number): Promise<Figure[]> {
  const url = await createDatabase(serverUrl, 'bench_append');
  await using service = await startService(url);
  await using echo = await startProgram(join(import.meta.dirname, 'echo.ts'), {});
  const [channel, echoChannel] = [connect(service.address), connect(echo.address)];
  const pool = new pg.Pool({ connectionString: url, max: 4 });
  const figures: Figure[] = [];
  for (const size of single) {
    const rates = await alternate(
      [
        { name: `${size.name} service`, run: () => measure(channel, size) },
        { name: `${size.name} echo`, run: () => measure(echoChannel, size) },
      ],
      rounds,
    );
    const [mine, ceiling] = [...rates.values()];
    figures.push(compare(size.name, mine!, ceiling!, size.goal));
  }
  const rates = await alternate(
    [
      { name: `${many.name} service (rows)`, run: async () => many.batch * (await measure(channel, many)) },
      { name: `${many.name} raw unnest (rows)`, run: () => raw(pool, many) },
    ],
    rounds,
  );
  const [mine, ceiling] = [...rates.values()];
  figures.push(compare(many.name, mine!, ceiling!, 0.7));
  channel.close();
  echoChannel.close();
  await pool.end();
  return figures;
}

async function measure(channel: Client, { callers, batch, calls }: Size): Promise<number> {
  const logs = createClient(LogService, channel);
  const entries = Array.from({ length: batch }, () => ({ level: LogLevel.INFO, message: LINE }));
  let left = calls;
  const start = performance.now();
  await Promise.all(
    Array.from({ length: callers }, async () => {
      const backupId = newBackupId();
      while (left-- > 0) {
        const { lastId, firstId } = await logs.appendLogs({ backupId, entries });
        if (lastId - firstId !== BigInt(batch - 1)) throw new Error('an append was not kept');
      }
    }),
  );
  return calls / ((performance.now() - start) / 1000);
}
