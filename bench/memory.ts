import { once } from 'node:events';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { type Client, type ClientReadableStream, Metadata } from '@grpc/grpc-js';
import pg from 'pg';
import { LogLevel } from '../src/gen/backup/v1/entry_pb.ts';
import { LogService } from '../src/gen/backup/v1/log_pb.ts';
import { createClient } from '../src/grpc/client.ts';
import { methodDefinition } from '../src/grpc/definition.ts';
import { stall, tailRequest } from '../test/support/stalled.ts';
import { alternate, compareCost, type Figure } from './figure.ts';
import { LINE, newBackupId } from './raw-append.ts';
import { connect, createDatabase, residentMiB, type Service, startService } from './service.ts';

const IDLE = 2_000;
const LIVE = 500;
const STALLED = 100;
const PER_CONNECTION = 100;
const SETTLE_MS = 2_000;

/**
 * What a replica takes. Of an idle one it is the RSS, some seconds after its start. What tails add is the growth of RSS after a collection of
 * garbage at both ends (`heap` is the same of what the collector has left, which is steadier): each round has a replica of its own.
 */
export async function memory(serverUrl: string, rounds: number): Promise<Figure[]> {
  const url = await createDatabase(serverUrl, 'bench_memory');
  const history = newBackupId();
  await using _first = await startService(url);
  await fill(url, history);
  const MiB = await alternate(
    [
      { name: 'replica', run: () => idleReplica(url) },
      { name: 'tails', run: () => tails(url) },
      { name: 'stalled', run: () => stalled(url, history) },
    ],
    rounds,
    'MiB',
  );
  const perTail = MiB.get('tails idle')!.map(all => (all * 1024) / IDLE);
  return [
    compareCost('memory of an idle replica', MiB.get('replica')!, [150], 1, 'MiB'),
    compareCost('memory of an idle tail, of 2,000', perTail, [40], 1, 'KiB'),
    compareCost('memory of a stalled subscriber', MiB.get('stalled each')!, [1], 1, 'MiB'),
  ];
}

async function idleReplica(url: string): Promise<number> {
  await using service = await startService(url);
  await delay(SETTLE_MS);
  return residentMiB(service);
}

/** Idle ones each follow a log of their own that has no entries; live ones all follow one that is written meanwhile. */
async function tails(url: string): Promise<Record<string, number>> {
  await using service = await startProbed(url);
  const before = await settled(service);
  const channels = Array.from({ length: (IDLE + LIVE) / PER_CONNECTION }, () => connect(service.address));
  await Promise.all(Array.from({ length: IDLE }, (_, i) => open(channels[i % channels.length]!, newBackupId())));
  const idle = await settled(service);
  const backupId = newBackupId();
  let came = 0;
  const live = Array.from({ length: LIVE }, (_, i) => open(channels[i % channels.length]!, backupId, () => came++));
  await Promise.all(live);
  const logs = createClient(LogService, channels[0]!);
  const entries = Array.from({ length: 10 }, () => ({ level: LogLevel.INFO, message: LINE }));
  for (let n = 0; n < 100; n++) await logs.appendLogs({ backupId, entries });
  const lively = await settled(service);
  if (came < LIVE) throw new Error('not all of the live tails were told');
  for (const channel of channels) channel.close();
  return {
    idle: idle.rss - before.rss,
    'idle heap': idle.heap - before.heap,
    live: lively.rss - idle.rss,
    'live heap': lively.heap - idle.heap,
  };
}

async function stalled(url: string, backupId: string): Promise<Record<string, number>> {
  await using service = await startProbed(url);
  const before = await settled(service);
  const sessions = await Promise.all(Array.from({ length: STALLED }, () => stall(service.address, backupId)));
  const after = await settled(service);
  for (const session of sessions) session.destroy();
  return { each: (after.rss - before.rss) / STALLED, 'each heap': (after.heap - before.heap) / STALLED };
}

function startProbed(url: string): Promise<Service> {
  return startService(url, {}, ['--expose-gc', '--import', join(import.meta.dirname, 'memory-probe.ts')]);
}

type Use = { rss: number; heap: number };

/** In MiB, when what has begun has come to rest. */
async function settled({ process: child }: Service): Promise<Use> {
  await delay(SETTLE_MS);
  child.send('collect');
  const [{ rss, heapUsed, external }] = await once(child, 'message');
  return { rss: rss / 2 ** 20, heap: (heapUsed + external) / 2 ** 20 };
}

/** A tail that was accepted. */
async function open(channel: Client, backupId: string, heard = () => {}): Promise<ClientReadableStream<Buffer>> {
  const { path, requestSerialize, responseDeserialize } = methodDefinition(LogService.method.tailLogs);
  const request = tailRequest(backupId);
  const call = channel.makeServerStreamRequest(path, requestSerialize, responseDeserialize, request, new Metadata());
  call.on('error', () => {});
  await once(call, 'data');
  call.on('data', heard);
  return call;
}

async function fill(url: string, backupId: string): Promise<void> {
  const client = new pg.Client({ connectionString: url });
  await client.connect();
  await client.query(
    `with head as (insert into backup_log_heads (backupid, lastid) values ($1, 20000))
     insert into backup_logs (backupid, id, loglevel, message, created_at)
     select $1, i, 40, $2, 1795000000 from generate_series(1, 20000) i`,
    [backupId, LINE],
  );
  await client.end();
}
