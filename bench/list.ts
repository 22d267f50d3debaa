import pg from 'pg';
import { LogService } from '../src/gen/backup/v1/log_pb.ts';
import { createClient, type TypedClient } from '../src/grpc/client.ts';
import { alternate, compare, type Figure } from './figure.ts';
import { LINE, newBackupId } from './raw-append.ts';
import { connect, createDatabase, startService } from './service.ts';

/** Ten millions take some minutes; a smaller log is for a quick look. */
const ENTRIES = Number(process.env['BENCH_LIST_ENTRIES'] ?? 10_000_000);
const PAGE = 1000;
const CALLERS = 4;
const PAGES = Math.min(400, Math.floor(ENTRIES / PAGE / 3)); // of each round

type Logs = TypedClient<typeof LogService>;

/**
 * ListLogs in pages of 1000 by four callers, at the beginning, in the middle and at the end of one long log, beside the same pages as arrays of
 * texts by pg alone. Only the service makes page tokens: so the list is walked through once from its beginning, and all tokens are kept.
 */
export async function lists(serverUrl: string, rounds: number): Promise<Figure[]> {
  const url = await createDatabase(serverUrl, 'bench_list');
  await using service = await startService(url, { RETENTION: 'off' });
  const pool = new pg.Pool({ connectionString: url, max: CALLERS });
  const backupId = newBackupId();
  await fill(pool, backupId);
  const channel = connect(service.address);
  const logs = createClient(LogService, channel);
  const tokens = await walk(logs, backupId);
  const places = [
    { name: 'list beginning', first: 0 },
    { name: 'list middle', first: Math.floor((tokens.length - PAGES) / 2) },
    { name: 'list end', first: tokens.length - PAGES },
  ];
  const rates = await alternate(
    places.flatMap(({ name, first }) => [
      { name: `${name} service (rows)`, run: () => measure(first, page => list(logs, backupId, tokens[page]!)) },
      { name: `${name} raw (rows)`, run: () => measure(first, page => raw(pool, backupId, page)) },
    ]),
    rounds,
  );
  channel.close();
  await pool.end();
  const [beginning, ceiling, middle, middleCeiling, end, endCeiling] = [...rates.values()];
  return [
    compare('list beginning', beginning!, ceiling!, 0.4),
    compare('list middle', middle!, middleCeiling!, 0.4),
    compare('list end', end!, endCeiling!, 0.4),
    compare('list end / beginning', end!, beginning!, 1 / 1.2),
  ];
}

async function fill(pool: pg.Pool, backupId: string): Promise<void> {
  await pool.query('insert into backup_log_heads (backupid, lastid) values ($1, $2)', [backupId, ENTRIES]);
  await pool.query(
    `insert into backup_logs (backupid, id, loglevel, message, created_at, created_nanos)
     select $1, i, 40, $3, 1795000000 + i / 100, i % 100 * 1000000 from generate_series(1, $2::bigint) i`,
    [backupId, ENTRIES, LINE],
  );
  await pool.query('vacuum analyze backup_logs');
}

/** The token of every page. */
async function walk(logs: Logs, backupId: string): Promise<string[]> {
  const tokens = [];
  let next = '';
  do {
    tokens.push(next);
    next = await list(logs, backupId, next);
  } while (next);
  if (tokens.length !== ENTRIES / PAGE) throw new Error(`${tokens.length} pages`);
  return tokens;
}

/** So many pages by callers that take one after the other, in entries per second. */
async function measure(first: number, read: (page: number) => Promise<unknown>): Promise<number> {
  let taken = 0;
  const start = performance.now();
  await Promise.all(
    Array.from({ length: CALLERS }, async () => {
      while (taken < PAGES) await read(first + taken++);
    }),
  );
  return (PAGES * PAGE) / ((performance.now() - start) / 1000);
}

async function list(logs: Logs, backupId: string, pageToken: string): Promise<string> {
  const { entries, nextPageToken } = await logs.listLogs({ backupId, pageSize: PAGE, pageToken });
  if (entries.length !== PAGE || entries[0]?.message !== LINE) throw new Error('a page is not whole');
  return nextPageToken;
}

async function raw(pool: pg.Pool, backupId: string, page: number): Promise<void> {
  const { rows } = await pool.query({
    name: 'raw-list',
    text: `select id, loglevel, message, created_at, created_nanos, attempt from backup_logs
           where backupid = $1 and id between $2 and $3 order by id`,
    values: [backupId, page * PAGE + 1, (page + 1) * PAGE],
    rowMode: 'array',
    types: { getTypeParser: () => (text: string) => text },
  });
  if (rows.length !== PAGE) throw new Error('a page is not whole');
}
