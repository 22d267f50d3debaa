import { create, type MessageInitShape, toBinary } from '@bufbuild/protobuf';
import type { Client } from '@grpc/grpc-js';
import pg from 'pg';
import { ListLogsRequestSchema, LogService } from '../src/gen/backup/v1/log_pb.ts';
import { methodDefinition } from '../src/grpc/definition.ts';
import { alternate, compare, type Figure } from './figure.ts';
import { LINE, newBackupId } from './raw-append.ts';
import { connect, createDatabase, startService } from './service.ts';
import { eachField, readVarint } from './wire.ts';

/** Ten millions take some minutes; a smaller log is for a quick look. */
const ENTRIES = Number(process.env['BENCH_LIST_ENTRIES'] ?? 10_000_000);
const PAGE = 1000;
const CALLERS = 4;
const PAGES = Math.min(400, Math.floor(ENTRIES / PAGE / 3)); // of each round

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
  const tokens = await walk(channel, backupId);
  const places = [
    { name: 'list beginning', first: 0 },
    { name: 'list middle', first: Math.floor((tokens.length - PAGES) / 2) },
    { name: 'list end', first: tokens.length - PAGES },
  ];
  const rates = await alternate(
    places.flatMap(({ name, first }) => [
      { name: `${name} service (rows)`, run: () => measure(first, page => list(channel, backupId, tokens[page]!)) },
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
async function walk(channel: Client, backupId: string): Promise<string[]> {
  const tokens = [];
  let next = '';
  do {
    tokens.push(next);
    next = await list(channel, backupId, next);
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

/**
 * The entries of a page are counted and not decoded: this process shares two processors with the service and the database, and what is measured
 * is the service.
 */
export async function list(channel: Client, backupId: string, pageToken: string): Promise<string> {
  const page = await ask(channel, { backupId, pageSize: PAGE, pageToken });
  let [entries, before, next] = [0, 0, ''];
  eachField(page, 0, page.length, (field, from, to) => {
    if (field === NEXT_PAGE_TOKEN) next = page.toString('utf8', from, to);
    if (field !== ENTRIES_FIELD) return;
    eachField(page, from, to, (field, from) => {
      if (field !== ID) return;
      const id = readVarint(page, from);
      if (before > 0 && id !== before + 1) throw new Error(`entry ${id} came behind ${before}`);
      before = id;
      entries++;
    });
  });
  if (entries !== PAGE) throw new Error('a page is not whole');
  return next;
}

function ask(channel: Client, request: MessageInitShape<typeof ListLogsRequestSchema>): Promise<Buffer> {
  const { path, requestSerialize, responseDeserialize } = methodDefinition(LogService.method.listLogs);
  const bytes = Buffer.from(toBinary(ListLogsRequestSchema, create(ListLogsRequestSchema, request)));
  return new Promise((resolve, reject) =>
    channel.makeUnaryRequest(path, requestSerialize, responseDeserialize, bytes, (error, page) =>
      error ? reject(error) : resolve(page!),
    ),
  );
}

// Numbers of fields in log.proto.
const ENTRIES_FIELD = 1;
const NEXT_PAGE_TOKEN = 2;
const ID = 2;

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
