import { join } from 'node:path';
import { alternate, compare, type Figure } from './figure.ts';
import { type Controllers, claim, controllersOf, type Lease } from './lease.ts';
import { connect, createDatabase, startProgram, startService } from './service.ts';

const WORKERS = 64;
const REPORTS = 20_000;

/** ReportProgress of one run by each of many workers, beside grpc-js with the same messages and nothing behind it. */
export async function progress(serverUrl: string, rounds: number): Promise<Figure[]> {
  const url = await createDatabase(serverUrl, 'bench_progress');
  await using service = await startService(url);
  await using echo = await startProgram(join(import.meta.dirname, 'echo.ts'), {});
  const [channel, echoChannel] = [connect(service.address), connect(echo.address)];
  const controllers = controllersOf(channel);
  const leases = await claim(url, controllers, WORKERS);
  const rates = await alternate(
    [
      { name: 'progress service', run: () => measure(controllers, leases) },
      { name: 'progress echo', run: () => measure(controllersOf(echoChannel), leases) },
    ],
    rounds,
  );
  channel.close();
  echoChannel.close();
  const [mine, ceiling] = [...rates.values()];
  return [compare('progress', mine!, ceiling!, 0.9)];
}

/** Each report is more than the one before, so each is a change that watchers are told of. */
async function measure(controllers: Controllers, leases: Lease[]): Promise<number> {
  let left = REPORTS;
  const start = performance.now();
  await Promise.all(
    leases.map(async lease => {
      for (let n = 1; left-- > 0; n++) {
        const { results } = await controllers.reportProgress({
          reports: [{ ...lease, progress: (n % 1000) / 1000, reset: true }],
        });
        if (results[0]?.error) throw new Error(results[0].error.message);
      }
    }),
  );
  return REPORTS / ((performance.now() - start) / 1000);
}
