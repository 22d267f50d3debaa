import { join } from 'node:path';
import pg from 'pg';
import { ControllerService } from '../src/gen/backup/v1/controller_pb.ts';
import { createClient } from '../src/grpc/client.ts';
import { alternate, compare, type Figure } from './figure.ts';
import { connect, createDatabase, startProgram, startService } from './service.ts';

const WORKERS = 64;
const REPORTS = 20_000;

type Lease = { backupId: string; leaseToken: string };
type Controllers = ReturnType<typeof clientOf>;

/** ReportProgress of one run by each of many workers, beside grpc-js with the same messages and nothing behind it. */
export async function progress(serverUrl: string, rounds: number): Promise<Figure[]> {
  const url = await createDatabase(serverUrl, 'bench_progress');
  await using service = await startService(url);
  await using echo = await startProgram(join(import.meta.dirname, 'echo.ts'), {});
  const [channel, echoChannel] = [connect(service.address), connect(echo.address)];
  const controllers = clientOf(channel);
  const leases = await claim(url, controllers);
  const rates = await alternate(
    [
      { name: 'progress service', run: () => measure(controllers, leases) },
      { name: 'progress echo', run: () => measure(clientOf(echoChannel), leases) },
    ],
    rounds,
  );
  channel.close();
  echoChannel.close();
  const [mine, ceiling] = [...rates.values()];
  return [compare('progress', mine!, ceiling!, 0.9)];
}

function clientOf(channel: Parameters<typeof createClient>[1]) {
  return createClient(ControllerService, channel);
}

async function claim(url: string, controllers: Controllers): Promise<Lease[]> {
  const pool = new pg.Pool({ connectionString: url, max: 1 });
  await pool.query(
    `insert into backup_controllers (backupid, operation, type, itemid, format, interactive, purpose, userid, status, execution)
     select md5(i::text), 'backup', 'course', i, 'moodle2', 0, 70, 1, 700, 2 from generate_series(1, $1) i`,
    [WORKERS],
  );
  await pool.end();
  const leaseDuration = { seconds: 3600n };
  const { claimed } = await controllers.claimControllers({ worker: 'bench', maxControllers: WORKERS, leaseDuration });
  return claimed.map(({ controller, leaseToken }) => ({ backupId: controller!.backupId, leaseToken }));
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
