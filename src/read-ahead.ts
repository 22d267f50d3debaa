import { Latch } from './latch.ts';

/**
 * Reads on from a source while what it gave before is being worked on, up to a bound: then the source waits, and with it whoever sends. What a
 * source throws is thrown behind all that it gave before.
 */
export class ReadAhead<T> {
  readonly #latch = new Latch();
  readonly #room = new Latch();
  readonly #over = new AbortController();
  readonly #all: Allowance;
  #items: T[] = [];
  #weight = 0;
  #end: { error?: unknown } | undefined;

  constructor(
    source: AsyncIterable<T>,
    { most, all, weigh }: { most: number; all: Allowance; weigh(item: T): number },
  ) {
    this.#all = all;
    void this.#fill(source, most, weigh).then(
      () => this.#finish({}),
      error => this.#finish({ error }),
    );
  }

  /** All that has come, in its order; waits until there is something. Nothing, when the source has ended or `stop` is aborted. */
  async take(stop: AbortSignal): Promise<T[]> {
    while (this.#items.length === 0 && !this.#end && !stop.aborted) {
      this.#latch.clear();
      await this.#latch.wait(LONGEST_TIMER, stop);
    }
    const items = this.#items;
    this.#items = [];
    this.#forget();
    this.#room.set();
    if (items.length === 0 && this.#end && 'error' in this.#end) throw this.#end.error;
    return items;
  }

  /** Reads no more. */
  [Symbol.dispose](): void {
    this.#over.abort();
    this.#forget();
  }

  async #fill(source: AsyncIterable<T>, most: number, weigh: (item: T) => number): Promise<void> {
    for await (const item of source) {
      // What comes after the end is nobody's any more.
      if (this.#over.signal.aborted) return;
      this.#items.push(item);
      const weight = weigh(item);
      this.#weight += weight;
      this.#all.held += weight;
      this.#latch.set();
      while (this.#isFull(most) && !this.#over.signal.aborted) {
        this.#room.clear();
        await this.#room.wait(LONGEST_TIMER, this.#over.signal);
      }
      if (this.#over.signal.aborted) return;
    }
  }

  #isFull(most: number): boolean {
    return this.#weight >= most || (this.#weight > 0 && this.#all.held >= this.#all.most);
  }

  #forget(): void {
    this.#all.held -= this.#weight;
    this.#weight = 0;
  }

  #finish(end: { error?: unknown }): void {
    this.#end = end;
    this.#latch.set();
  }
}

/** What all those who share it may have read ahead together. When it is used up, each reads only what its source gives at once. */
export type Allowance = { readonly most: number; held: number };

const LONGEST_TIMER = 2 ** 31 - 1;
