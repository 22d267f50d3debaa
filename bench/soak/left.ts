import { readFileSync } from 'node:fs';
import { setTimeout as delay } from 'node:timers/promises';
import type pg from 'pg';
import type { Service } from '../service.ts';

/** Bytes, and how many of each kind keep the process alive. */
export type Memory = { rss: number; heapUsed: number; external: number; resources: Record<string, number> };

/** What the service uses after a collection. */
export async function memoryOf({ process: child }: Service, file: string): Promise<Memory> {
  const lines = () => readFileSync(file, { encoding: 'utf8', flag: 'a+' }).split('\n').slice(0, -1);
  const before = lines().length;
  child.kill('SIGUSR2');
  while (lines().length === before) {
    if (child.exitCode !== null || child.signalCode !== null) throw new Error('the service has ended');
    await delay(20);
  }
  return JSON.parse(lines().at(-1)!);
}

/** What is there of clients that are gone, until there is none: for half a minute, because connections to the database idle for 10 s. */
export async function leftovers({ address }: Service, pool: pg.Pool, measure: () => Promise<Memory>, idle: Memory) {
  for (let tries = 0; ; tries++) {
    const connections = connectionsTo(Number(address.split(':').at(-1)));
    const { rows } = await pool.query(
      "select count(*)::int as busy from pg_stat_activity where datname = current_database() and pid <> pg_backend_pid() and state <> 'idle'",
    );
    const statements: number = rows[0].busy;
    const memory = await measure();
    const more = ['TCPSocketWrap', 'Timeout'].some(
      name => (memory.resources[name] ?? 0) > (idle.resources[name] ?? 0) + OWN,
    );
    const gone = connections === 0 && statements === 0 && !more;
    if (gone || tries === 30) return { gone, connections, statements, memory };
    await delay(1_000);
  }
}

/** By so many sockets or timers what the service does by itself, now and again, moves what one look finds. */
const OWN = 3;

/** Of the service's ends; one that waits after its close is the kernel's. */
function connectionsTo(port: number): number {
  const own = `:${port.toString(16).toUpperCase().padStart(4, '0')}`;
  const [LISTENING, TIME_WAIT] = ['0A', '06'];
  const sockets = readFileSync('/proc/net/tcp', 'utf8').trim().split('\n').slice(1);
  return sockets
    .map(line => line.trim().split(/\s+/))
    .filter(([, local, , state]) => local!.endsWith(own) && state !== LISTENING && state !== TIME_WAIT).length;
}
