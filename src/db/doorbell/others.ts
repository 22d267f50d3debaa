import { setTimeout as delay, setImmediate } from 'node:timers/promises';
import type { Transport } from './connection.ts';
import { postgres } from './postgres.ts';
import { type Watched, watched } from './watched.ts';

export type OthersOptions = {
  /** Of the database, or of a broker: what it begins with says which transport it is. */
  url: string;
  /** Under which name the replicas on one database meet on a broker. */
  channel: string;
  /** How often the connection has to prove that it is alive; it has as long again to answer. */
  heartbeatMs: number;
  warn: (message: string) => void;
  heard: (key: string) => void;
  /** Called when rings may have been missed. */
  missed: () => void;
};

/**
 * The other replicas, by one connection; when that breaks another one is made. Keys that are rung while some are being sent go together with the
 * next ones. Where no other replica listens none are sent: with every heartbeat it is asked who does, and whoever begins to listen says so. By
 * NOTIFY 16 callers append 4,600 single lines a second then, and 3,980 where there is somebody to ring for.
 */
export class Others implements AsyncDisposable {
  readonly #options: OthersOptions;
  readonly #stop = new AbortController();
  readonly #running: Promise<void>;
  /** Connections that were made: each but the first one replaces one that broke. */
  connections = 0;
  /** Rings that were not sent: too many waited for it, or the connection broke meanwhile. */
  dropped = 0;
  #connection: Watched | undefined;
  readonly #toRing = new Set<string>();
  #ringing = false;
  /** Whether nobody else listens; and how many have said that they begin to. */
  #alone = false;
  #newcomers = 0;

  constructor(options: OthersOptions) {
    this.#options = options;
    this.#running = this.#stayConnected();
  }

  get connected(): boolean {
    return this.#connection !== undefined;
  }

  /** Never fails and never waits. */
  ring(key: string): void {
    if (this.#alone) return;
    if (this.#toRing.size < MOST_UNSENT) this.#toRing.add(key);
    else if (!this.#toRing.has(key)) this.dropped++;
    void this.#ringAll();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#stop.abort();
    await this.#running;
  }

  async #ringAll(): Promise<void> {
    if (this.#ringing) return;
    this.#ringing = true;
    // Calls that were answered by one batch ring one after another.
    await setImmediate();
    while (this.#toRing.size > 0 && this.#connection) {
      const keys = [...this.#toRing];
      this.#toRing.clear();
      try {
        await this.#connection.send(payloadsOf(keys));
      } catch {
        // The others look by themselves, and its own loop makes another connection, for what is rung from now on.
        this.dropped += keys.length;
        this.#connection = undefined;
      }
    }
    this.#ringing = false;
  }

  async #stayConnected(): Promise<void> {
    const { signal } = this.#stop;
    const { url, warn } = this.#options;
    const { protocol, host } = new URL(url);
    let told: string | undefined;
    for (let failures = 0; !signal.aborted; failures++) {
      try {
        await this.#listen(() => {
          failures = 0;
          told = undefined;
        });
      } catch (error) {
        if (signal.aborted) return;
        const { message, code } = error as NodeJS.ErrnoException;
        // Node says nothing in the message when several addresses of a host have failed.
        const reason = message || code;
        if (reason !== told) warn(`doorbell: ${protocol}//${host}: ${reason}; connecting again`);
        told = reason;
      }
      // 0.1 s, doubling to 5 s; the jitter keeps replicas from coming back all at once.
      const backOff = Math.min(5000, 100 * 2 ** failures) * (0.5 + Math.random());
      await delay(backOff, undefined, { signal, ref: false }).catch(() => {});
    }
  }

  /** Listens until the connection breaks or this is disposed of. */
  async #listen(connected: () => void): Promise<never> {
    const { url, channel, heartbeatMs, missed } = this.#options;
    const { signal } = this.#stop;
    const heard = (payload: string) => this.#heard(payload);
    const connection = watched(await transportOf(url), { url, channel, timeoutMs: heartbeatMs, heard, signal });
    try {
      await connection.listen();
      // Others first: what they do not ring for from now on was committed before the look that follows.
      await connection.send([NEWCOMER]);
      for (;;) {
        const before = this.#newcomers;
        const othersListen = await connection.othersListen();
        this.#alone = !othersListen && this.#newcomers === before;
        if (!this.#connection) {
          this.#connection = connection;
          this.connections++;
          connected();
          missed();
          void this.#ringAll();
        }
        await Promise.race([connection.broken, delay(heartbeatMs, undefined, { ref: false })]);
      }
    } finally {
      this.#connection = undefined;
      this.#alone = false;
      connection.close();
    }
  }

  #heard(payload: string): void {
    if (payload === NEWCOMER) {
      this.#newcomers++;
      this.#alone = false;
      return;
    }
    for (const key of payload.split(' ')) this.#options.heard(key);
  }
}

/** Clients of brokers are loaded only where there is one: they take 12 and 27 MiB. */
async function transportOf(url: string): Promise<Transport> {
  switch (new URL(url).protocol) {
    case 'nats:':
    case 'tls:':
      return (await import('./nats.ts')).nats;
    case 'redis:':
    case 'rediss:':
      return (await import('./redis.ts')).redis;
    default:
      return postgres;
  }
}

function payloadsOf(keys: string[]): string[] {
  const payloads = [];
  for (let i = 0; i < keys.length; i += KEYS_PER_PAYLOAD) payloads.push(keys.slice(i, i + KEYS_PER_PAYLOAD).join(' '));
  return payloads;
}

/** Sent by who begins to listen. */
const NEWCOMER = 'newcomer';

const MOST_UNSENT = 10_000;

// A payload of NOTIFY holds less than 8000 bytes, the least of all; a key is at most 33.
const KEYS_PER_PAYLOAD = 200;
