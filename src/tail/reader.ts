import { Latch } from '../latch.ts';
import type { Active } from '../log/active.ts';
import type { WatchedLog } from './watched.ts';

/** One who follows some logs: woken when one of them has moved. */
export class Reader implements Disposable {
  readonly latch = new Latch();
  readonly logs: readonly WatchedLog[];
  /** How many entries it has still to deliver; from when it has delivered all that was there. */
  behind: (() => bigint) | undefined;
  readonly #leave: () => void;
  readonly #look: () => void;
  #error: { error: unknown } | undefined;

  constructor(logs: readonly WatchedLog[], { leave, look }: { leave: (reader: Reader) => void; look: () => void }) {
    this.logs = logs;
    this.#leave = () => leave(this);
    this.#look = look;
  }

  /** Whether every log was looked at since then, by `performance.now()`. If not, it is looked at now, and the latch is set. */
  hasLooked(since: number): boolean {
    if (this.#error) throw this.#error.error;
    if (this.lookedAt >= since) return true;
    this.#look();
    return false;
  }

  /** Waits until every log was looked at since then, or `stop` is aborted. */
  async looked(since: number, stop: AbortSignal): Promise<void> {
    while (!stop.aborted) {
      this.latch.clear();
      if (this.hasLooked(since)) return;
      await this.latch.wait(LONGEST_TIMER, stop);
    }
  }

  /** What it follows cannot be looked at any more. */
  fail(error: unknown): void {
    this.#error = { error };
    this.latch.set();
  }

  [Symbol.dispose](): void {
    this.#leave();
  }

  protected get lookedAt(): number {
    return Math.min(...this.logs.map(({ lookedAt }) => lookedAt));
  }
}

/** One who follows whatever moves. */
export class WideReader extends Reader {
  /** What has moved since it was taken last, by backup id. */
  readonly moved = new Map<string, WatchedLog>();
  /** The last look at all that is active. Everything that it found was handed over before. */
  look: { active: Active; began: number } | undefined;

  take(): WatchedLog[] {
    const moved = [...this.moved.values()];
    this.moved.clear();
    return moved;
  }

  protected override get lookedAt(): number {
    return this.look?.began ?? Number.NEGATIVE_INFINITY;
  }
}

const LONGEST_TIMER = 2 ** 31 - 1;
