import { AsyncLocalStorage } from 'node:async_hooks';
import { connect } from 'node:net';
import type { Pool, PoolClient } from 'pg';
import { ErrorReason, exhausted } from '../errors.ts';
import { intercept, type Release } from './checkout.ts';

/**
 * Runs work whose statements nobody needs any more once the signal is aborted: those on a guarded pool are cancelled then. What is begun after that
 * runs as usual, because it cleans up. Without a signal nothing is cancelled.
 */
export function whileWanted<T>(signal: AbortSignal | undefined, work: () => T): T {
  return wanted.run(signal, work);
}

const wanted = new AsyncLocalStorage<AbortSignal | undefined>();

/** Throws why nobody needs the work any more that this runs in. */
export function throwIfUnwanted(): void {
  wanted.getStore()?.throwIfAborted();
}

/**
 * Bounds how many may wait for a connection of this pool (more are refused with OVERLOADED), and cancels the statements of those who are gone.
 *
 * A cancel is a message on a connection of its own that names a backend and no statement, and may arrive late. So whatever it was sent for, this
 * connection takes no statement any more, only the end of its transaction, and is closed when it is given back: there is no next statement that
 * it could hit, and nothing that could still be committed behind a statement that it was too late for.
 */
export function guard(pool: Pool, mostWaiting: number): void {
  intercept(pool, lend => taken => {
    if (pool.waitingCount >= mostWaiting) return taken(overloaded(mostWaiting), undefined, () => {});
    const signal = wanted.getStore();
    if (!signal || signal.aborted) return lend(taken);
    lend((error, client, release) => {
      if (error || !client) return taken(error, client, release);
      if (!signal.aborted) return taken(undefined, client, cancelWith(signal, client));
      release();
      taken(signal.reason, undefined, () => {});
    });
  });
}

/** RESOURCE_EXHAUSTED: so many wait for the database already, and nothing was done. */
export function overloaded(most: number): Error {
  const message = `${most} wait for the database already`;
  return exhausted(ErrorReason.OVERLOADED, message, { limit: 'waiting', of: 'replica', most }, 1000);
}

/** Until the client is given back. */
function cancelWith(signal: AbortSignal, client: PoolClient): Release {
  const giveBack = client.release;
  let cancelled: Error | undefined;
  const cancel = () => {
    cancelled = signal.reason as Error;
    refuseStatements(client, cancelled);
    sendCancel(client);
  };
  signal.addEventListener('abort', cancel, { once: true });
  client.release = error => {
    signal.removeEventListener('abort', cancel);
    giveBack(error || cancelled);
  };
  return client.release;
}

/** For good: the connection is closed soon. */
function refuseStatements(client: PoolClient, reason: Error): void {
  const query = client.query.bind(client) as (...all: unknown[]) => unknown;
  const refusing = (...all: unknown[]) => {
    const [statement] = all as [string | { text?: string }];
    const text = typeof statement === 'string' ? statement : statement.text;
    if (/^\s*rollback/i.test(text ?? '')) return query(...all);
    const callback = all.findLast(one => typeof one === 'function') as ((error: Error) => void) | undefined;
    if (!callback) return Promise.reject(reason);
    process.nextTick(callback, reason);
    return undefined;
  };
  Object.assign(client, { query: refusing });
}

/** One that does not come through is no harm: the statement has a limit of its own. */
function sendCancel(client: PoolClient): void {
  const { processID, secretKey, host, port } = client as PoolClient & Cancellable;
  const message = Buffer.alloc(16);
  for (const [i, field] of [message.length, CANCEL_REQUEST, processID, secretKey].entries()) {
    message.writeInt32BE(field, 4 * i);
  }
  const socket = host.startsWith('/') ? connect(`${host}/.s.PGSQL.${port}`) : connect(port, host);
  socket.setTimeout(CANCEL_MS, () => socket.destroy());
  socket.on('error', () => socket.destroy());
  // PostgreSQL closes it without a word. To close it first ends a PgBouncer (up to 1.24: "FATAL .. bad client state", its pull request 846).
  socket.resume().write(message);
}

// None of these is in the types of pg.
type Cancellable = { processID: number; secretKey: number; host: string; port: number };

/** The number in the place of a protocol's version. */
const CANCEL_REQUEST = 80877102;

const CANCEL_MS = 5000;
