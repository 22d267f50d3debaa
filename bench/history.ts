import pg from 'pg';
import { alternate, compare, type Figure } from './figure.ts';
import { LINE, newBackupId } from './raw-append.ts';
import { createDatabase, startService } from './service.ts';
import { follow } from './subscribe.ts';

const ENTRIES = 1_000_000;
const PAGE = 1_000;

/** A whole log to one subscriber, from the moment it asks, beside the same columns read page after page by keyset in a program. */
export async function histories(serverUrl: string, rounds: number): Promise<Figure[]> {
  const url = await createDatabase(serverUrl, 'bench_history');
  await using service = await startService(url);
  const backupId = newBackupId();
  const client = new pg.Client({ connectionString: url });
  await client.connect();
  await fill(client, backupId);
  const rates = await alternate(
    [
      { name: 'history service (entries)', run: () => tailed(service.address, backupId) },
      { name: 'history raw pages (rows)', run: () => raw(client, backupId) },
    ],
    rounds,
  );
  await client.end();
  const [mine, ceiling] = [...rates.values()];
  return [compare('history', mine!, ceiling!, 0.6)];
}

async function fill(client: pg.Client, backupId: string): Promise<void> {
  await client.query(
    `with head as (insert into backup_log_heads (backupid, lastid) values ($1, $2))
     insert into backup_logs (backupid, id, loglevel, message, created_at, created_nanos)
     select $1, i, 40, $3, 1795000000 + i / 1000, i % 1000 * 1000000 from generate_series(1, $2::bigint) i`,
    [backupId, ENTRIES, LINE],
  );
  await client.query('vacuum analyze backup_logs, backup_log_heads');
  await client.query('checkpoint');
}

async function tailed(address: string, backupId: string): Promise<number> {
  const { received } = follow('tails.ts', { address, backupId, subscribers: 1, lastId: ENTRIES });
  const { opened, last } = await received;
  return ENTRIES / ((last - opened) / 1000);
}

async function raw(client: pg.Client, backupId: string): Promise<number> {
  const start = performance.now();
  let lastId = 0;
  for (let page = 1; page <= ENTRIES / PAGE; page++) {
    const { rows } = await client.query({
      name: 'raw-history',
      text: `select id, loglevel, message, created_at, created_nanos, attempt from backup_logs
             where backupid = $1 and id > $2 order by id limit ${PAGE}`,
      values: [backupId, lastId],
    });
    lastId = Number(rows.at(-1).id);
    if (lastId !== page * PAGE) throw new Error('rows are missing');
  }
  return ENTRIES / ((performance.now() - start) / 1000);
}
