import { randomUUID } from 'node:crypto';
import { create } from '@bufbuild/protobuf';
import type { Client } from '@grpc/grpc-js';
import pg from 'pg';
import { LogLevel, NewLogEntrySchema } from '../src/gen/backup/v1/entry_pb.ts';
import { LogService } from '../src/gen/backup/v1/log_pb.ts';
import { createClient } from '../src/grpc/client.ts';
import { alternate, compare, compareCost, type Figure } from './figure.ts';
import { redisLog, startRedis } from './peers/redis.ts';
import type { PeerServer } from './peers/server.ts';
import { LINE, newBackupId, raw } from './raw-append.ts';
import { connect, createDatabase, residentMiB, startService } from './service.ts';

const STREAMS = 4;
const BATCH = 100;
const BATCHES = 1_000; // of each stream

/**
 * IngestLogs over four streams, beside the same rows by the same statement that a program without a service would use. A round ends when the
 * last batch is acknowledged, and then every log is counted.
 */
export async function ingests(serverUrl: string, rounds: number): Promise<Figure[]> {
  const url = await createDatabase(serverUrl, 'bench_ingest');
  await using service = await startService(url);
  const channel = connect(service.address);
  const pool = new pg.Pool({ connectionString: url, max: 4 });
  await using redis = await startRedis();
  const before = residentMiB(service);
  const rates = await alternate(
    [
      { name: 'ingest service (rows)', run: () => measure(channel, pool) },
      { name: 'ingest raw unnest (rows)', run: () => raw(pool, { batch: BATCH, calls: STREAMS * BATCHES }) },
      ...(redis ? [{ name: 'ingest Redis Streams, pipelined', run: () => pipelined(redis) }] : []),
    ],
    rounds,
  );
  const grown = residentMiB(service) - before;
  channel.close();
  await pool.end();
  const [mine, ceiling, theirs] = [...rates.values()];
  return [
    compare('ingest', mine!, ceiling!, 0.9),
    ...(theirs ? [compare('ingest : Redis Streams', mine!, theirs, 1.4)] : []),
    compareCost('ingest: memory grows', [grown], [64], 1, 'MiB'),
  ];
}

/** As many writers with as many entries, each on a connection of its own and sending a batch when the one before is on the disk. */
async function pipelined(redis: PeerServer): Promise<number> {
  const start = performance.now();
  await Promise.all(
    Array.from({ length: STREAMS }, async () => {
      using log = redisLog(redis);
      const name = crypto.randomUUID();
      for (let n = 0; n < BATCHES; n++) await log.append(name, BATCH);
    }),
  );
  return (STREAMS * BATCHES * BATCH) / ((performance.now() - start) / 1000);
}

async function measure(channel: Client, pool: pg.Pool): Promise<number> {
  const logs = createClient(LogService, channel);
  const backupIds = Array.from({ length: STREAMS }, newBackupId);
  const start = performance.now();
  await Promise.all(
    backupIds.map(async backupId => {
      let kept = 0n;
      for await (const { event } of logs.ingestLogs(requests(backupId))) {
        if (event.case === 'acknowledged') kept = event.value.lastNumber;
      }
      if (kept !== BigInt(BATCHES)) throw new Error(`${kept} batches were kept`);
    }),
  );
  const took = (performance.now() - start) / 1000;
  const { rows } = await pool.query(
    'select count(*)::int as count, max(id)::int as last from backup_logs where backupid = any ($1) group by backupid',
    [backupIds],
  );
  const whole = ({ count, last }: { count: number; last: number }) => count === BATCH * BATCHES && last === count;
  if (rows.length !== STREAMS || !rows.every(whole)) throw new Error('entries are missing');
  return (STREAMS * BATCHES * BATCH) / took;
}

function* requests(backupId: string) {
  yield { request: { case: 'start' as const, value: { backupId, writerId: randomUUID() } } };
  // Made once: what is measured is the service, not how a client makes messages.
  const entries = Array.from({ length: BATCH }, () =>
    create(NewLogEntrySchema, { level: LogLevel.INFO, message: LINE }),
  );
  for (let number = 1; number <= BATCHES; number++) {
    yield { request: { case: 'batch' as const, value: { number: BigInt(number), entries } } };
  }
}
