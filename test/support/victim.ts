import { strict as assert } from 'node:assert';
import { readFileSync } from 'node:fs';
import { setTimeout as delay } from 'node:timers/promises';
import { clients, connect } from './backend.ts';
import { createDatabase, type Database } from './database.ts';
import { ready, repository, run } from './process.ts';
import { append, newBackupId } from './writing.ts';

/** A service in a process of its own, that is attacked and watched from outside. */
export type Victim = AsyncDisposable & {
  readonly address: string;
  readonly database: Database;
  /**
   * Runs an attack while a client on a connection of its own appends one line after another, and asserts what a well-behaved client may expect
   * meanwhile: each answer within a minute; that memory does not grow by more than `mib`; and that the process has said nothing of a fault.
   */
  during<T>(attack: () => Promise<T>, mib?: number): Promise<T>;
};

/** The longest that a client may have to wait for an answer while somebody else attacks. (2 cores, shared with other tests.) */
const WITHIN_MS = 60_000;

export async function startVictim(settings: Record<string, string> = {}): Promise<Victim> {
  await using starting = new AsyncDisposableStack();
  const database = starting.use(await createDatabase());
  const service = starting.use(
    run('node', ['--max-semi-space-size=4', `${repository}/src/main.ts`], {
      ...settings,
      DATABASE_URL: database.url,
      LISTEN: '127.0.0.1:0',
      SERVICE_LOG: 'error',
      RETENTION: 'off',
    }),
  );
  const address = await ready(service);
  const rss = () => Number(/VmRSS:\s+(\d+)/.exec(readFileSync(`/proc/${service.child.pid}/status`, 'utf8'))![1]) / 1024;
  const warm = healthy(address);
  await warm.stop();
  const open = starting.move();
  return {
    address,
    database,
    async during(attack, mib = 150) {
      const before = rss();
      let most = 0;
      const client = healthy(address);
      const looking = setInterval(() => {
        most = Math.max(most, rss());
      }, 50);
      try {
        return await attack();
      } finally {
        clearInterval(looking);
        const { answers, longestMs } = await client.stop();
        assert.equal(service.child.exitCode, null, service.output());
        assert.ok(answers > 0 && longestMs < WITHIN_MS, `${answers} answers, the slowest after ${longestMs} ms`);
        assert.ok(most - before < mib, `memory grew from ${before} to ${most} MiB`);
        assert.doesNotMatch(service.output(), /unhandled|uncaught|warning|"level":[56]0/i);
      }
    },
    [Symbol.asyncDispose]: () => open.disposeAsync(),
  };
}

/** A client that behaves well, until it is stopped; it has had an answer by then. */
function healthy(address: string) {
  const channel = connect(address);
  const { logs } = clients(channel);
  const backupId = newBackupId();
  const stop = new AbortController();
  let answers = 0;
  let longestMs = 0;
  const calling = (async () => {
    do {
      const began = performance.now();
      await append({ logs }, backupId, ['still here']);
      longestMs = Math.max(longestMs, performance.now() - began);
      answers++;
      await delay(5);
    } while (!stop.signal.aborted);
  })();
  calling.catch(() => {});
  return {
    async stop() {
      stop.abort();
      await calling.finally(() => channel.close());
      return { answers, longestMs };
    },
  };
}
