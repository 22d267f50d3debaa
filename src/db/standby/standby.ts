import { AsyncLocalStorage } from 'node:async_hooks';
import pg, { type Pool, type PoolClient } from 'pg';
import { isTooLate, StatusError } from '../../errors.ts';
import { intercept, type Lend, type Taken } from '../checkout.ts';
import { cut, type SessionOptions, sessionOptions } from '../session.ts';
import { sqlOn } from '../sql.ts';
import { guard, throwIfUnwanted, whileWanted } from '../wanted.ts';
import { Fitness, type StandbyState } from './fitness.ts';
import { Marks } from './marks.ts';
import { type Mark, readMark } from './position.ts';
import { Lacking, reach } from './reach.ts';

export type StandbyOptions = SessionOptions & {
  url: string;
  poolSize: number;
  mostWaiting: number;
  /** How far behind what is read there may be, in milliseconds; 0 when a read has to find whatever was answered before it began. */
  lagMs: number;
  /** Told when it begins to be read from, and when it is no longer and why. */
  log: (state: StandbyState) => void;
};

/** How a read differs from others. */
export type ReadOptions<T> = {
  /** It goes on where another one has ended, which may have been at the primary: so it may not be behind at all. */
  continued?: boolean;
  /** Whether to take an answer of the standby for true; else the primary is asked. */
  believed?: (answer: T) => boolean;
};

/**
 * A hot standby that reads go to. What runs in `read` takes its connections from it, whatever routed pool it asks, and everything else takes
 * them from the primary. A connection is handed out when its own server was seen to have what the read must find: a standby that has started
 * again may be further behind than before, and an address may lead to several. What writes in a read by mistake is refused there and done by
 * the primary.
 */
export class Standby implements AsyncDisposable {
  readonly pool: Pool;
  /** Reads that were answered, by who has answered. */
  readonly reads = { primary: 0, standby: 0 };
  /** Reads that were begun on the standby and done again by the primary. */
  fallbacks = 0;
  readonly #options: StandbyOptions;
  readonly #marks: Marks;
  readonly #fitness: Fitness;
  readonly #clients = new Set<PoolClient>();

  /** `primary` is asked where it stands. */
  constructor(primary: Pool, options: StandbyOptions) {
    this.#options = options;
    // Many wait for a mark, so it does not end with whoever has asked first.
    this.#marks = new Marks(() => whileWanted(undefined, () => atPrimary(() => readMark(sqlOn(primary)))));
    this.pool = open(options, options.poolSize);
    this.pool.on('connect', client => this.#clients.add(client as PoolClient));
    this.pool.on('remove', client => this.#clients.delete(client as PoolClient));
    guard(this.pool, options.mostWaiting);
    this.#fitness = new Fitness(open({ ...options, statementTimeoutMs: PATIENCE_MS }, 1), this.#marks, {
      lagMs: options.lagMs,
      told: (state, isNew) => {
        if (isNew) options.log(state);
        // Whatever is still asked of it would be waited for until it took too long.
        if (state === 'AWAY') this.#cut();
      },
    });
  }

  get state(): StandbyState {
    return this.#fitness.state;
  }

  /** By how much it is behind at most, in milliseconds; while it is not read from it grows. */
  get lagMs(): number {
    return this.#fitness.lagMs;
  }

  /** Lets what runs in `read` have connections of the standby when it asks this pool for one. */
  route(pool: Pool): void {
    intercept(pool, lend => taken => {
      const wish = reads.getStore();
      if (wish) this.#lend(wish, taken);
      else lend(taken);
    });
  }

  /** Reads from the standby, or from the primary when it is not fit; what fails there is done once more, by the primary. */
  async read<T>(work: () => Promise<T>, { continued = false, believed = () => true }: ReadOptions<T> = {}): Promise<T> {
    const mark = this.state === 'READ' ? await this.#mark(continued) : undefined;
    throwIfUnwanted();
    if (mark) {
      try {
        const answer = await reads.run({ mark, seen: new WeakSet() }, work);
        if (believed(answer)) {
          this.reads.standby++;
          return answer;
        }
      } catch (error) {
        throwIfUnwanted();
        // What the standby refuses with a reason of ours, or was too slow to do, the primary would not do better.
        if (error instanceof StatusError || isTooLate(error)) throw error;
      }
      this.fallbacks++;
    }
    this.reads.primary++;
    return atPrimary(work);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#fitness[Symbol.asyncDispose]();
    // Calls are over by now; what still waits for a server that does not answer is not waited for.
    const late = setTimeout(() => this.#cut(), PATIENCE_MS);
    await this.pool.end().finally(() => clearTimeout(late));
  }

  /** What the read must find; undefined when the primary does not say, as it will say itself then. */
  #mark(continued: boolean): Promise<Mark | undefined> {
    const { lagMs } = this.#options;
    const asked = continued || lagMs === 0 ? this.#marks.now() : this.#marks.since(performance.now() - lagMs);
    return asked.catch(() => undefined);
  }

  #lend({ mark, seen }: Wish, taken: Taken): void {
    (this.pool.connect as Lend)((error, client, release) => {
      if (error || !client || seen.has(client)) return taken(error, client, release);
      reach(client, mark).then(
        () => {
          seen.add(client);
          taken(undefined, client, release);
        },
        error => {
          release(error instanceof Lacking ? undefined : error);
          taken(error, undefined, () => {});
        },
      );
    });
  }

  #cut(): void {
    for (const client of this.#clients) cut(client);
  }
}

/** Within a read: what has to be asked of the primary nevertheless. */
export function atPrimary<T>(work: () => Promise<T>): Promise<T> {
  return reads.run(undefined, work);
}

/** What a read must find, and the connections whose servers were seen to have it. */
type Wish = { mark: Mark; seen: WeakSet<PoolClient> };

const reads = new AsyncLocalStorage<Wish | undefined>();

function open({ url, connectTimeoutMs, ...session }: StandbyOptions, most: number): Pool {
  const connecting = { connectTimeoutMs: Math.min(connectTimeoutMs, PATIENCE_MS) };
  const pool = new pg.Pool({ connectionString: url, max: most, ...sessionOptions({ ...session, ...connecting }) });
  // One that breaks while nothing uses it; the next look says what is wrong.
  pool.on('error', () => {});
  return pool;
}

/** After what time it is taken to be away. */
const PATIENCE_MS = 1000;
