import type { Client } from '@grpc/grpc-js';
import pg from 'pg';
import { LogLevel } from '../src/gen/backup/v1/entry_pb.ts';
import { LogService } from '../src/gen/backup/v1/log_pb.ts';
import { createClient } from '../src/grpc/client.ts';
import { alternate, compareCost, type Figure, quantile } from './figure.ts';
import { LINE, newBackupId } from './raw-append.ts';
import { rawTail } from './raw-tail.ts';
import { connect, createDatabase, startService } from './service.ts';
import { now, type Received, subscribe } from './subscribe.ts';

const PER_SECOND = 200;
const APPENDS = 1_200;
const WARM_UP = 200; // the first ones are not counted

/**
 * How long an entry takes from the moment at which its append is sent until the client of a subscriber, another process, has it: one append every
 * 5 ms whether or not those before were answered. With the subscriber on the same replica it is held against the answer to the append itself; on
 * another one, against the least that a program without a service needs to tell another one: a NOTIFY and a read.
 */
export async function latencies(serverUrl: string, rounds: number): Promise<Figure[]> {
  const url = await createDatabase(serverUrl, 'bench_latency');
  await using service = await startService(url);
  await using replica = await startService(url);
  const channel = connect(service.address);
  const pool = new pg.Pool({ connectionString: url, max: 4 });
  const contestants = [
    { name: 'same replica', run: () => tailed(channel, service.address) },
    { name: 'other replica', run: () => tailed(channel, replica.address) },
    { name: 'raw NOTIFY and read', run: async () => percentiles('tail', await rawTail(pool, url, paced)) },
  ];
  const ms = await alternate(contestants, rounds, 'ms');
  channel.close();
  await pool.end();
  const figure = (name: string, value: string, ceiling: string, goal: number) =>
    compareCost(name, ms.get(value)!, ms.get(ceiling)!, goal, 'ms');
  return [
    figure('tail-latency p50', 'same replica tail p50', 'same replica append p50', 1.1),
    figure('tail-latency p99', 'same replica tail p99', 'same replica append p99', 1.5),
    figure('tail-latency-replica p50', 'other replica tail p50', 'raw NOTIFY and read tail p50', 1.5),
    figure('tail-latency-replica p99', 'other replica tail p99', 'raw NOTIFY and read tail p99', 2),
  ];
}

/** Sends at a steady pace; resolves with when each was sent and when its answer was there. */
export async function paced(send: (n: number) => Promise<unknown>): Promise<{ sent: number[]; answered: number[] }> {
  const sent: number[] = [];
  const answered: number[] = [];
  const answers: Promise<void>[] = [];
  const start = now();
  const over = Promise.withResolvers<void>();
  // A timer of Node may be late by a millisecond; what is due is sent then, so that the pace is kept.
  const timer = setInterval(() => {
    for (; sent.length < APPENDS && now() - start >= (sent.length / PER_SECOND) * 1000; ) {
      const n = sent.length;
      sent.push(now());
      answers.push(
        send(n).then(() => {
          answered[n] = now();
        }),
      );
    }
    if (sent.length === APPENDS) over.resolve();
  }, 1);
  await over.promise;
  clearInterval(timer);
  await Promise.all(answers);
  return { sent, answered };
}

async function tailed(channel: Client, address: string): Promise<Record<string, number>> {
  const backupId = newBackupId();
  const { live, received } = subscribe({ address, backupId, subscribers: 1, lastId: APPENDS });
  await live;
  const logs = createClient(LogService, channel);
  const ids: bigint[] = [];
  const { sent, answered } = await paced(async n => {
    const { lastId } = await logs.appendLogs({ backupId, entries: [{ level: LogLevel.INFO, message: LINE }] });
    ids[n] = lastId;
  });
  const arrived = arrivalsById(await received);
  const times = (at: number[]) => sent.map((start, n) => at[n]! - start);
  return {
    ...percentiles('append', times(answered)),
    ...percentiles('tail', times(ids.map(id => arrived[Number(id) - 1]!))),
  };
}

function arrivalsById({ arrivals }: Received): number[] {
  return arrivals.flatMap(([id, at], i) => Array<number>(id - (arrivals[i - 1]?.[0] ?? 0)).fill(at));
}

function percentiles(name: string, ms: number[]): Record<string, number> {
  const sorted = ms.slice(WARM_UP).sort((a, b) => a - b);
  return { [`${name} p50`]: quantile(sorted, 0.5), [`${name} p99`]: quantile(sorted, 0.99) };
}
