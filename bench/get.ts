import { join } from 'node:path';
import type { Client } from '@grpc/grpc-js';
import pg from 'pg';
import { ControllerService } from '../src/gen/backup/v1/controller_pb.ts';
import { createClient } from '../src/grpc/client.ts';
import { alternate, compare, type Figure } from './figure.ts';
import { connect, createDatabase, startProgram, startService } from './service.ts';

const CALLERS = 16;
const CALLS = 20_000;
const ROWS = 10_000;

/** A database with controllers, and their backup ids. */
export async function createControllers(
  serverUrl: string,
  name: string,
): Promise<{ url: string; backupIds: string[] }> {
  const url = await createDatabase(serverUrl, name);
  await using _migrated = await startService(url);
  const pool = new pg.Pool({ connectionString: url, max: 1 });
  const { rows } = await pool.query(
    `insert into backup_controllers (backupid, operation, type, itemid, format, interactive, purpose, userid, status, execution)
     select md5(i::text), 'backup', 'course', i, 'moodle2', 0, 70, 1, 700, 2 from generate_series(1, $1) i returning backupid`,
    [ROWS],
  );
  await pool.query('vacuum analyze backup_controllers');
  await pool.end();
  return { url, backupIds: rows.map(row => row.backupid as string) };
}

/** GetController of one after another by 16 callers, beside grpc-js with the same messages and nothing behind it. */
export async function gets(serverUrl: string, rounds: number): Promise<Figure[]> {
  const { url, backupIds } = await createControllers(serverUrl, 'bench_get');
  await using service = await startService(url);
  await using echo = await startProgram(join(import.meta.dirname, 'echo.ts'), {});
  const [channel, echoChannel] = [connect(service.address), connect(echo.address)];
  const rates = await alternate(
    [
      { name: 'get service', run: () => measure(channel, backupIds) },
      { name: 'get echo', run: () => measure(echoChannel, backupIds) },
    ],
    rounds,
  );
  channel.close();
  echoChannel.close();
  const [mine, ceiling] = [...rates.values()];
  return [compare('get', mine!, ceiling!, 0.6)];
}

export async function measure(channel: Client, backupIds: string[]): Promise<number> {
  const controllers = createClient(ControllerService, channel);
  let left = CALLS;
  const start = performance.now();
  await Promise.all(
    Array.from({ length: CALLERS }, async () => {
      while (left-- > 0) {
        const { controller } = await controllers.getController({ backupId: backupIds[left % ROWS]! });
        if (!controller?.backupId) throw new Error('no controller came');
      }
    }),
  );
  return CALLS / ((performance.now() - start) / 1000);
}
