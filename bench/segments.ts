import { mkdtempSync, readdirSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import type { Client } from '@grpc/grpc-js';
import pg from 'pg';
import { migrate } from '../src/db/migrate.ts';
import { alternate, compare, compareCost, type Figure } from './figure.ts';
import { list } from './list.ts';
import { newBackupId } from './raw-append.ts';
import { connect, createDatabase, startService } from './service.ts';

const ENTRIES = Number(process.env['BENCH_SEGMENT_ENTRIES'] ?? 1_000_000);
const PAGES = 100; // of each round

/**
 * Pages of 1000 lines of a log in segments, beside the same log in the table: one after the other, as who reads a log does; and here and there with
 * nothing kept, so that each reads a whole segment. And the room that both take. The store is a folder: what a network adds is not in it.
 */
export async function segments(serverUrl: string, rounds: number): Promise<Figure[]> {
  const folder = mkdtempSync(join(tmpdir(), 'backup-management-bench-'));
  const url = await createDatabase(serverUrl, 'bench_segments');
  await migrate(url);
  const store = { RETENTION: 'off', SEGMENT_STORE: `file://${folder}` };
  const pool = new pg.Pool({ connectionString: url, max: 2 });
  try {
    const [kept, moved] = [newBackupId(), newBackupId()];
    const room = await fill(pool, kept, false);
    await fill(pool, moved, true);
    const began = performance.now();
    {
      await using _mover = await startService(url, { ...store, SEGMENT_AFTER: '1s', SEGMENT_INTERVAL: '100ms' });
      while (await isLeft(pool)) await delay(100);
    }
    const rate = ENTRIES / ((performance.now() - began) / 1000);
    console.log(`  moved ${Math.round(rate)} entries a second, with what it takes to start`);
    const objects = sizeOf(folder);

    await using service = await startService(url, store);
    await using keepsNothing = await startService(url, { ...store, SEGMENT_CACHE_BYTES: '0' });
    const channels = [connect(service.address), connect(keepsNothing.address)] as const;
    const tokens = { kept: await walk(channels[0], kept), moved: await walk(channels[0], moved) };
    const next = (pages: string[]) => pages.slice(0, PAGES);
    const scattered = (pages: string[]) => Array.from({ length: PAGES }, (_, i) => pages[(i * 7919) % pages.length]!);
    const rates = await alternate(
      [
        { name: 'table, one after the other', run: () => measure(channels[0], kept, next(tokens.kept)) },
        { name: 'segments, one after the other', run: () => measure(channels[0], moved, next(tokens.moved)) },
        { name: 'table, here and there', run: () => measure(channels[0], kept, scattered(tokens.kept)) },
        { name: 'segments, here and there', run: () => measure(channels[1], moved, scattered(tokens.moved)) },
      ],
      rounds,
      'pages/s',
    );
    for (const channel of channels) channel.close();
    const [inTable, inSegments, anyTable, anySegments] = [...rates.values()];
    const perMillion = (bytes: number) => [(bytes / ENTRIES) * (1_000_000 / 2 ** 20)];
    return [
      compare('segments / table, one after the other', inSegments!, inTable!, null),
      compare('segments / table, here and there', anySegments!, anyTable!, null),
      compareCost('room of a million, segments / table', perMillion(objects), perMillion(room), null, 'MiB'),
    ];
  } finally {
    await pool.end();
    rmSync(folder, { recursive: true, force: true });
  }
}

/** Lines as a worker writes them: what they say repeats itself, and each has something that no other one has. Returns the room that they take. */
async function fill(pool: pg.Pool, backupId: string, sealed: boolean): Promise<number> {
  const size = async () =>
    Number((await pool.query(`select pg_total_relation_size('backup_logs') as size`)).rows[0].size);
  const before = await size();
  await pool.query(
    `with head as (insert into backup_log_heads (backupid, lastid, sealedid, lastmicros) values ($1, $2, case when $3 then $2::bigint end, 1))
     insert into backup_logs (backupid, id, loglevel, message, created_at, created_nanos)
     select $1, i, case when i % 50 = 0 then 30 else 40 end,
            'added moodledata/filedir/' || md5(i::text) || ' (' || i % 100000 || ' bytes) of course ' || i % 5000 || ', activity forum',
            1795000000 + i / 100, i % 100 * 1000000
     from generate_series(1, $2::bigint) i`,
    [backupId, ENTRIES, sealed],
  );
  await pool.query('vacuum analyze backup_logs');
  return (await size()) - before;
}

async function isLeft(pool: pg.Pool): Promise<boolean> {
  const { rows } = await pool.query(
    'select from backup_log_heads where sealedid is not null and movedid < sealedid - 1',
  );
  return rows.length > 0;
}

function sizeOf(folder: string): number {
  const entries = readdirSync(folder, { recursive: true, withFileTypes: true });
  return entries.reduce(
    (sum, entry) => (entry.isFile() ? sum + statSync(join(entry.parentPath, entry.name)).size : sum),
    0,
  );
}

/** The tokens of the pages, but for the last one. */
async function walk(channel: Client, backupId: string): Promise<string[]> {
  const tokens = [''];
  while (tokens.length < ENTRIES / 1000) tokens.push(await list(channel, backupId, tokens.at(-1)!));
  return tokens;
}

async function measure(channel: Client, backupId: string, tokens: string[]): Promise<number> {
  const start = performance.now();
  for (const token of tokens) await list(channel, backupId, token);
  return tokens.length / ((performance.now() - start) / 1000);
}
