// Looks for leaks: everything that clients do, for a long time, on one replica.
//
//   npm run soak -- --minutes 10
//
// Every 10 s the service collects its garbage and says what is left. What is left after the first 3 minutes (a third of a shorter run), in
// which caches fill and code is compiled, must not grow.
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { parseArgs } from 'node:util';
import pg from 'pg';
import { startEmbeddedPostgres } from '../src/db/embedded.ts';
import { createDatabase, type Service, startService } from './service.ts';
import { startLoad } from './soak/load.ts';
import { medianOf, trendOf } from './soak/trend.ts';

/**
 * MiB in an hour. On two cores the load makes some 300 calls a second and opens some 40 streams: 30 MiB are 30 bytes of each call and 220 of
 * each stream, less than a closure or a listener with what they hold. A run of 10 minutes tells growth to about 5 MiB, so below 30 it is not noise
 * that decides.
 */
const BOUND = 30;
const SAMPLE_MS = 10_000;
const MIB = 2 ** 20;

const { values } = parseArgs({ options: { minutes: { type: 'string', default: '10' } } });
const minutes = Number(values.minutes);
if (!(minutes >= 1 && minutes <= 10_000)) throw new Error('--minutes must be from 1 to 10000');

type Memory = { rss: number; heapUsed: number; external: number; resources: Record<string, number> };

const folder = mkdtempSync(join(tmpdir(), 'backup-management-soak-'));
try {
  await using postgres = await startEmbeddedPostgres({ dataDir: join(folder, 'postgres') });
  const url = await createDatabase(postgres.url, 'soak');
  const memoryFile = join(folder, 'memory');
  const preload = ['--expose-gc', '--import', join(import.meta.dirname, 'soak/memory.ts')];
  // Streams come to their ends by age and by patience, and answers to requests are forgotten, many times in a run.
  const ages = { TAIL_MAX_AGE: '20s', WRITE_TIMEOUT: '3s', REQUEST_RETENTION: '1m' };
  await using service = await startService(url, { ...ages, SERVICE_LOG: 'error', SOAK_MEMORY: memoryFile }, preload);
  const pool = new pg.Pool({ connectionString: url, max: 1 });
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
  await pool.end();
} finally {
  rmSync(folder, { recursive: true, force: true });
}

function fail(reason: string): void {
  console.error(`FAILED: ${reason}`);
  process.exitCode = 1;
}

async function memoryOf({ process: child }: Service, file: string): Promise<Memory> {
  const lines = () => readFileSync(file, { encoding: 'utf8', flag: 'a+' }).split('\n').slice(0, -1);
  const before = lines().length;
  child.kill('SIGUSR2');
  while (lines().length === before) {
    if (child.exitCode !== null || child.signalCode !== null) throw new Error('the service has ended');
    await delay(20);
  }
  return JSON.parse(lines().at(-1)!);
}

/** What is there of clients that are gone, until there is none: half a minute, for connections to the database that idle for 10 s. */
async function leftovers({ address }: Service, pool: pg.Pool, measure: () => Promise<Memory>, idle: Memory) {
  for (let tries = 0; ; tries++) {
    const connections = connectionsTo(Number(address.split(':').at(-1)));
    const { rows } = await pool.query(
      "select count(*)::int as busy from pg_stat_activity where datname = current_database() and pid <> pg_backend_pid() and state <> 'idle'",
    );
    const statements: number = rows[0].busy;
    const memory = await measure();
    const more = ['TCPSocketWrap', 'Timeout'].some(name => (memory.resources[name] ?? 0) > (idle.resources[name] ?? 0));
    const gone = connections === 0 && statements === 0 && !more;
    if (gone || tries === 30) return { gone, connections, statements, memory };
    await delay(1_000);
  }
}

/** Of the service's ends; one that waits after its close is the kernel's. */
function connectionsTo(port: number): number {
  const own = `:${port.toString(16).toUpperCase().padStart(4, '0')}`;
  const [LISTENING, TIME_WAIT] = ['0A', '06'];
  const sockets = readFileSync('/proc/net/tcp', 'utf8').trim().split('\n').slice(1);
  return sockets
    .map(line => line.trim().split(/\s+/))
    .filter(([, local, , state]) => local!.endsWith(own) && state !== LISTENING && state !== TIME_WAIT).length;
}

function describe({ rss, heapUsed, external }: Memory): string {
  return `rss ${inMiB(rss)}, heap ${inMiB(heapUsed)}, external ${inMiB(external)}`;
}

function inMiB(bytes: number): string {
  return `${(bytes / MIB).toFixed(1)} MiB`;
}
