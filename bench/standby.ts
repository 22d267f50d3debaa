import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Client } from '@grpc/grpc-js';
import { ControllerService } from '../src/gen/backup/v1/controller_pb.ts';
import { LogService } from '../src/gen/backup/v1/log_pb.ts';
import { createClient } from '../src/grpc/client.ts';
import { writeHistory } from '../test/support/read-aside.ts';
import { Pair } from '../test/support/standby-server.ts';
import { serverMs } from './costs.ts';
import { alternate, compareCost, type Figure } from './figure.ts';
import { fillControllers } from './get.ts';
import { concurrently } from './lease.ts';
import { newBackupId } from './raw-append.ts';
import { connect, startService } from './service.ts';

const ENTRIES = 100_000;

/** Processor time of the primary for a read, in µs: with a standby that is read from, and as the ceiling without one. */
export async function standbys(_: string, rounds: number): Promise<Figure[]> {
  await using pair = await Pair.start();
  const backupId = newBackupId();
  await writeHistory(pair, backupId, ENTRIES);
  await fillControllers(pair.primary.url);
  await pair.primary.query('vacuum analyze');
  await pair.level();
  const [row] = await pair.primary.query('show data_directory');
  const server = Number(readFileSync(join(String(row!['data_directory']), 'postmaster.pid'), 'utf8').split('\n')[0]);
  const setups: Record<string, Record<string, string>> = {
    'without a standby': {},
    'with one': { DATABASE_READ_URL: pair.standby.url },
    'READ_LAG=5s': { DATABASE_READ_URL: pair.standby.url, READ_LAG: '5s' },
  };
  const contestants = [];
  await using opened = new AsyncDisposableStack();
  for (const [setup, settings] of Object.entries(setups)) {
    const channel = connect(opened.use(await startService(pair.primary.url, settings)).address);
    opened.defer(() => channel.close());
    contestants.push({ name: setup, run: () => costsOf(server, channel, backupId) });
  }
  const measured = await alternate(contestants, rounds, 'µs');
  const of = (setup: string, read: string) => measured.get(`${setup} ${read}`)!;
  return ['page of a tail', 'list of 100 runs', 'count of a log'].flatMap(read =>
    ['with one', 'READ_LAG=5s'].map(setup =>
      compareCost(`${read}, ${setup}`, of(setup, read), of('without a standby', read), null, 'µs'),
    ),
  );
}

async function costsOf(server: number, channel: Client, backupId: string): Promise<Record<string, number>> {
  const logs = createClient(LogService, channel);
  const controllers = createClient(ControllerService, channel);
  const cost = async (count: number, act: () => Promise<unknown>) => {
    const before = serverMs(server);
    await act();
    return ((serverMs(server) - before) * 1000) / count;
  };
  return {
    'page of a tail': await cost((3 * ENTRIES) / 1000, async () => {
      for (let i = 0; i < 3; i++) for await (const _ of logs.tailLogs({ backupIds: [backupId] }));
    }),
    'list of 100 runs': await cost(1000, () =>
      concurrently(16, 1000, () => controllers.listControllers({ pageSize: 100 })),
    ),
    'count of a log': await cost(10, () => concurrently(2, 10, () => logs.summarizeLogs({ backupId }))),
  };
}
