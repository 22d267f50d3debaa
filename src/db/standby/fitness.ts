import type { Pool, PoolClient } from 'pg';
import { periodic } from '../../periodic.ts';
import type { Marks } from './marks.ts';
import type { Lack, Mark, Position } from './position.ts';
import { Lacking, reach } from './reach.ts';

/** READ, or why a standby is not read from. */
export type StandbyState = 'READ' | 'AWAY' | Lack;

type FitnessOptions = {
  /** How far behind it may be, in milliseconds. */
  lagMs: number;
  /** Told of each new state, and of AWAY with every look. */
  told: (state: StandbyState, isNew: boolean) => void;
};

/** Whether a standby is fit to be read from: it is looked at now and again, whether it is read from or not. */
export class Fitness implements AsyncDisposable {
  readonly #pool: Pool;
  readonly #marks: Marks;
  readonly #options: FitnessOptions;
  readonly #looking: AsyncDisposable;
  /** Until it was looked at, it is not read from. */
  #state: StandbyState | undefined;
  /** At least what the primary had at this time, by `performance.now()`, was there when it was looked at last. */
  #reached = { at: performance.now(), lagMs: 0 };

  /** `pool` has the connection that is looked by, and ends with this. */
  constructor(pool: Pool, marks: Marks, options: FitnessOptions) {
    this.#pool = pool;
    this.#marks = marks;
    this.#options = options;
    this.#looking = periodic(LOOK_MS, () => this.#look());
  }

  get state(): StandbyState {
    return this.#state ?? 'AWAY';
  }

  /** In milliseconds; while it is not read from it grows. */
  get lagMs(): number {
    return this.#state === 'READ' ? this.#reached.lagMs : performance.now() - this.#reached.at;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#looking[Symbol.asyncDispose]();
    await this.#pool.end();
  }

  async #look(): Promise<void> {
    const { lagMs, told } = this.#options;
    // While the primary is away, nothing is known of the standby.
    const mark = await this.#marks.now().then(
      now => (lagMs === 0 ? now : this.#marks.since(performance.now() - lagMs)),
      () => undefined,
    );
    if (!mark) return;
    const [state, position] = await this.#examine(mark);
    const at = position && this.#marks.reachedAt(position.replayed);
    if (at !== undefined && (state === 'READ' || state === 'BEHIND')) {
      this.#reached = { at, lagMs: performance.now() - at };
    }
    const isNew = state !== this.#state;
    this.#state = state;
    if (isNew || state === 'AWAY') told(state, isNew);
  }

  async #examine(mark: Mark): Promise<[StandbyState, Position?]> {
    let client: PoolClient | undefined;
    try {
      client = await this.#pool.connect();
      const position = await reach(client, mark);
      client.release();
      return ['READ', position];
    } catch (error) {
      const lacking = error instanceof Lacking ? error : undefined;
      client?.release(!lacking);
      return lacking ? [lacking.lack, lacking.position] : ['AWAY'];
    }
  }
}

/** How often it is looked at, in milliseconds. */
const LOOK_MS = 500;
