import { join } from 'node:path';
import { alternate, compare, type Figure } from './figure.ts';
import { type Controllers, claim, controllersOf, type Lease } from './lease.ts';
import { connect, createDatabase, type Service, startProgram, startService } from './service.ts';
import { follow, type Received } from './subscribe.ts';

const CONTROLLERS = 100;
const WATCHERS = 100;
const REPORTS = 200;
const UPDATES = 10_000;

/**
 * Updates per second that 100 watchers of the same 100 controllers see, all together, from the first to the last, while one call after another
 * reports progress of all of them. What counts as an update stands in watchers.ts. The ceiling is grpc-js alone with one controller per message; the
 * service may put more into one, so it is also told what grpc-js does with all of them in each.
 */
export async function watches(serverUrl: string, rounds: number): Promise<Figure[]> {
  const url = await createDatabase(serverUrl, 'bench_watch');
  await using service = await startService(url);
  await using single = await startBroadcast(1);
  await using together = await startBroadcast(CONTROLLERS);
  const channel = connect(service.address);
  const controllers = controllersOf(channel);
  const leases = await claim(url, controllers, CONTROLLERS);
  const rates = await alternate(
    [
      { name: 'watch service (updates)', run: () => watched(service.address, controllers, leases) },
      { name: 'watch grpc-js, 1 per message', run: () => broadcast(single.address) },
      { name: 'watch grpc-js, 100 per message', run: () => broadcast(together.address) },
    ],
    rounds,
  );
  channel.close();
  const [mine, ceiling, most] = [...rates.values()];
  return [compare('watch', mine!, ceiling!, 0.5), compare('watch : 100 per message', mine!, most!, null)];
}

function startBroadcast(perMessage: number): Promise<Service> {
  return startProgram(join(import.meta.dirname, 'broadcast.ts'), {
    SUBSCRIBERS: String(WATCHERS),
    MESSAGES: String(UPDATES / perMessage),
    SIZE: String(CONTROLLERS),
    TOGETHER: String(perMessage),
  });
}

async function watched(address: string, controllers: Controllers, leases: Lease[]): Promise<number> {
  await report(controllers, leases, 0);
  const backupIds = leases.map(({ backupId }) => backupId);
  const { live, received } = follow('watchers.ts', { address, backupIds, subscribers: WATCHERS });
  await live;
  for (let n = 1; n <= REPORTS; n++) await report(controllers, leases, n / REPORTS);
  return rateOf(await received);
}

async function report(controllers: Controllers, leases: Lease[], progress: number): Promise<void> {
  const reports = leases.map(lease => ({ ...lease, progress, reset: progress === 0 }));
  const { results } = await controllers.reportProgress({ reports });
  for (const { error } of results) if (error) throw new Error(error.message);
}

async function broadcast(address: string): Promise<number> {
  const backupIds = Array.from({ length: CONTROLLERS }, (_, i) => String(i).padStart(32, '0'));
  const { received } = follow('watchers.ts', { address, backupIds, subscribers: WATCHERS });
  return rateOf(await received);
}

function rateOf({ count, first, last }: Received): number {
  return count / ((last - first) / 1000);
}
