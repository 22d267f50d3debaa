// Looks for leaks: everything that clients do, for a long time, on one replica.
//
//   npm run soak -- --minutes 10
//
// Every 10 s the service collects its garbage and says what is left. What is left after the first 3 minutes (a third of a shorter run), in
// which caches fill and code is compiled, must not grow.
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { parseArgs } from 'node:util';
import pg from 'pg';
import { startEmbeddedPostgres } from '../src/db/embedded.ts';
import { createDatabase, startService } from './service.ts';
import { leftovers, type Memory, memoryOf } from './soak/left.ts';
import { startLoad } from './soak/load.ts';
import { medianOf, trendOf } from './soak/trend.ts';

/**
 * MiB in an hour. On two cores the load makes some 200 calls a second and opens some 40 streams: 30 MiB are 44 bytes of each call and 220 of
 * each stream, less than a closure or a listener with what they hold. A run of 10 minutes tells growth to about 5 MiB, so noise does not decide.
 */
const BOUND = 30;
const SAMPLE_MS = 10_000;
const MIB = 2 ** 20;

const { values } = parseArgs({ options: { minutes: { type: 'string', default: '10' } } });
const minutes = Number(values.minutes);
if (!(minutes >= 1 && minutes <= 10_000)) throw new Error('--minutes must be from 1 to 10000');

const folder = mkdtempSync(join(tmpdir(), 'backup-management-soak-'));
try {
  await using postgres = await startEmbeddedPostgres({ dataDir: join(folder, 'postgres') });
  const url = await createDatabase(postgres.url, 'soak');
  const memoryFile = join(folder, 'memory');
  const preload = ['--expose-gc', '--import', join(import.meta.dirname, 'soak/memory.ts')];
  // Streams come to their ends by age and by patience, and answers to requests are forgotten, many times in a run. Connections, too: Node
  // keeps the empty list of an unreferenced timer until its time, and grpc-js has one for the age of each connection, an hour with jitter, which
  // looked like a leak of 10 MiB/h.
  const settings = {
    TAIL_MAX_AGE: '20s',
    WRITE_TIMEOUT: '3s',
    REQUEST_RETENTION: '1m',
    MAX_CONNECTION_AGE: '30s',
    MAX_CONNECTION_AGE_GRACE: '30s',
    SERVICE_LOG: 'error',
    SOAK_MEMORY: memoryFile,
  };
  await using service = await startService(url, settings, preload);
  await using opened = new AsyncDisposableStack();
  const pool = new pg.Pool({ connectionString: url, max: 1 });
  opened.defer(() => pool.end());
  const measure = () => memoryOf(service, memoryFile);

  const idle = await measure();
  const failure = Promise.withResolvers<never>();
  failure.promise.catch(() => {});
  await using load = startLoad(service.address, failure.reject);
  const samples: [hours: number, bytes: number][] = [];
  const begin = Date.now();
  for (let at = SAMPLE_MS; at <= minutes * 60_000; at += SAMPLE_MS) {
    await Promise.race([delay(begin + at - Date.now()), failure.promise]);
    const memory = await measure();
    const kept = memory.heapUsed + memory.external;
    samples.push([at / 3_600_000, kept]);
    const { rows } = await pool.query('select pg_database_size(current_database()) as size');
    console.log(`${String(at / 1000).padStart(6)} s ${describe(memory)}, database ${inMiB(Number(rows[0].size))}`);
  }
  await load[Symbol.asyncDispose]();
  console.log(`\nturns: ${JSON.stringify(load.turns)}`);

  const judged = samples.slice(Math.min(18, Math.floor(samples.length / 3)));
  const kept = judged.map(([, bytes]) => bytes);
  const { slope, standardError } = trendOf(judged);
  const [growth, error] = [slope / MIB, standardError / MIB];
  console.log(`kept: first ${inMiB(kept[0]!)}, last ${inMiB(kept.at(-1)!)}, median ${inMiB(medianOf(kept))}`);
  console.log(`growth: ${growth.toFixed(1)} MiB/h, give or take ${(2 * error).toFixed(1)}; bound ${BOUND}`);
  if (growth - 2 * error > BOUND) fail('the memory grows');

  const left = await leftovers(service, pool, measure, idle);
  console.log(`before: ${describe(idle)}, ${JSON.stringify(idle.resources)}`);
  console.log(`after:  ${describe(left.memory)}, ${JSON.stringify(left.memory.resources)}`);
  console.log(`left: ${left.connections} connections of clients, ${left.statements} statements`);
  if (!left.gone) fail('something is left');
} finally {
  rmSync(folder, { recursive: true, force: true });
}

function fail(reason: string): void {
  console.error(`FAILED: ${reason}`);
  process.exitCode = 1;
}

function describe({ rss, heapUsed, external }: Memory): string {
  return `rss ${inMiB(rss)}, heap ${inMiB(heapUsed)}, external ${inMiB(external)}`;
}

function inMiB(bytes: number): string {
  return `${(bytes / MIB).toFixed(1)} MiB`;
}
