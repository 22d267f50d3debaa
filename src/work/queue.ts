import type { Pool } from 'pg';
import { Batcher, type Probe } from '../batch.ts';
import { WORK } from '../controller/bell.ts';
import type { Doorbell } from '../db/doorbell.ts';
import { type Sql, sqlOn } from '../db/sql.ts';
import { type Claim, claim, type Held, nextDue, type Wish } from './claim.ts';

export type QueueOptions = {
  /** How often a claim that waits looks without having been woken. */
  pollMs: number;
  skipLocked: boolean;
  probe?: Probe | undefined;
  /** How many runs may be asked for by claims that wait for the database; more are refused. */
  mostWaiting: number;
};

/** How long a claim waits when there is nothing; it gives up when `stop` is aborted. */
export type Patience = { waitMs: number; stop: AbortSignal };

/** The runs that wait for a worker, as workers see them. */
export class Queue {
  readonly #pool: Pool;
  readonly #doorbell: Doorbell;
  readonly #options: QueueOptions;
  readonly #claims: Batcher<Wanted, Taken>;
  readonly #looks: Batcher<Look, number | undefined>;

  constructor(pool: Pool, doorbell: Doorbell, options: QueueOptions) {
    this.#pool = pool;
    this.#doorbell = doorbell;
    this.#options = options;
    this.#claims = new Batcher(wanted => this.#take(wanted), {
      name: 'claim',
      probe: options.probe,
      lanes: 2,
      weight: 64,
      weigh: ({ one }) => one.most,
      most: options.mostWaiting,
    });
    // All that are woken by the same ring look at once, and most of them for the same.
    this.#looks = new Batcher(looks => this.#look(looks), {
      name: 'look',
      probe: options.probe,
      lanes: 1,
      weight: 10_000,
      weigh: () => 1,
      most: options.mostWaiting,
    });
  }

  /** Due runs for a claim; none when there are none. Claims that come at the same time share a statement. */
  async claim(wish: Wish, one: Claim, signal: AbortSignal): Promise<Held[]> {
    const taken = await this.#claims.submit({ wish, key: JSON.stringify(wish), one }, signal);
    if ('error' in taken) throw taken.error;
    return taken.held;
  }

  /** The same in a transaction of the caller's. */
  async claimIn(sql: Sql, wish: Wish, one: Claim): Promise<Held[]> {
    const [held] = await claim(sql, wish, [one], this.#options.skipLocked);
    return held!;
  }

  /** Tries until something was found or patience is over: at once, whenever there may be new work, and when the next run is due. */
  async wait<T>(wish: Wish, { waitMs, stop }: Patience, attempt: () => Promise<T | undefined>): Promise<T | undefined> {
    using latch = this.#doorbell.subscribe([WORK]);
    const end = performance.now() + waitMs;
    for (;;) {
      latch.clear();
      const found = await attempt();
      const left = end - performance.now();
      if (found || stop.aborted) return found;
      // What others have locked for a moment is due and was not given: it is no reason to wait for long, or to give up.
      const due =
        left > 0 || !this.#options.skipLocked
          ? await this.#looks.submit({ wish, key: JSON.stringify(wish) })
          : undefined;
      if (due === 0 && !this.#options.skipLocked) continue;
      if (left <= 0) return undefined;
      await latch.wait(Math.min(left, this.#options.pollMs, Math.max(due ?? left, SHORTEST_WAIT_MS)), stop);
    }
  }

  /** When the next run is due, once for all who ask with the same wish. */
  async #look(looks: Look[]): Promise<(number | undefined)[]> {
    const due = new Map<string, number | undefined>();
    for (const [key, { wish }] of new Map(looks.map(look => [look.key, look]))) {
      due.set(key, await nextDue(sqlOn(this.#pool), wish));
    }
    return looks.map(({ key }) => due.get(key));
  }

  /** Never fails as a whole: each wish is a commit of its own, and what was given for one must not be lost with another. */
  async #take(wanted: Wanted[]): Promise<Taken[]> {
    const taken = new Map<Wanted, Taken>();
    for (const group of Map.groupBy(wanted, ({ key }) => key).values()) {
      const claims = group.map(({ one }) => one);
      try {
        const shares = await claim(sqlOn(this.#pool), group[0]!.wish, claims, this.#options.skipLocked);
        for (const [i, held] of shares.entries()) taken.set(group[i]!, { held });
      } catch (error) {
        for (const one of group) taken.set(one, { error });
      }
    }
    return wanted.map(one => taken.get(one)!);
  }
}

type Look = { wish: Wish; key: string };

type Wanted = { wish: Wish; key: string; one: Claim };

type Taken = { held: Held[] } | { error: unknown };

const SHORTEST_WAIT_MS = 20;
