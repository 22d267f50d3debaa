import pg from 'pg';
import { ControllerService, Outcome } from '../src/gen/backup/v1/controller_pb.ts';
import { createClient } from '../src/grpc/client.ts';

export type Lease = { backupId: string; leaseToken: string };

export type Controllers = ReturnType<typeof controllersOf>;

export function controllersOf(channel: Parameters<typeof createClient>[1]) {
  return createClient(ControllerService, channel);
}

/** Makes runs and claims them, for an hour. */
export async function claim(url: string, controllers: Controllers, count: number): Promise<Lease[]> {
  const pool = new pg.Pool({ connectionString: url, max: 1 });
  await pool.query(
    `insert into backup_controllers (backupid, operation, type, itemid, format, interactive, purpose, userid, status, execution)
     select md5(i::text), 'backup', 'course', i, 'moodle2', 0, 70, 1, 700, 2 from generate_series(1, $1) i`,
    [count],
  );
  await pool.end();
  const leaseDuration = { seconds: 3600n };
  const { claimed } = await controllers.claimControllers({ worker: 'bench', maxControllers: count, leaseDuration });
  if (claimed.length !== count) throw new Error(`${claimed.length} of ${count} runs were claimed`);
  return claimed.map(({ controller, leaseToken }) => ({ backupId: controller!.backupId, leaseToken }));
}

/** Claims one run of this format (empty: of any), does its work and finishes it. */
export async function claimAndFinish(
  controllers: Controllers,
  format = '',
  work: (lease: Lease) => Promise<unknown> = async () => {},
): Promise<void> {
  const { claimed } = await controllers.claimControllers({ worker: 'bench', filter: { format } });
  const [one] = claimed;
  if (!one) throw new Error('nothing to claim');
  const lease = { backupId: one.controller!.backupId, leaseToken: one.leaseToken };
  await work(lease);
  const finish = { ...lease, outcome: Outcome.SUCCEEDED };
  const { results } = await controllers.finishControllers({ finishes: [finish] });
  if (results[0]!.error) throw new Error('a lease was lost');
}

/** Calls so many times, from so many callers that each wait for their answer. */
export async function concurrently(
  callers: number,
  calls: number,
  call: (caller: number, n: number) => Promise<unknown>,
) {
  let left = calls;
  const all = Array.from({ length: callers }, async (_, caller) => {
    while (left-- > 0) await call(caller, left);
  });
  await Promise.all(all);
}
