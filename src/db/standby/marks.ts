import type { Mark } from './position.ts';

/** Marks of the primary, asked for together by all who need one at the same time. */
export class Marks {
  readonly #ask: () => Promise<Mark>;
  /** Some of the last ones, oldest first. */
  #kept: Mark[] = [];
  #asking: Promise<unknown> = Promise.resolve();
  #next: Promise<Mark> | undefined;

  constructor(ask: () => Promise<Mark>) {
    this.#ask = ask;
  }

  /** The oldest one that was made at this time, which may not be to come, or later; made now if there is none. */
  since(at: number): Promise<Mark> {
    const kept = this.#kept.find(mark => mark.at >= at);
    return kept ? Promise.resolve(kept) : this.now();
  }

  /** One that is made from now on: of one that is being made nobody knows whether the primary has answered already. */
  now(): Promise<Mark> {
    this.#next ??= this.#asking.then(() => {
      this.#next = undefined;
      const asked = this.#ask().then(mark => this.#keep(mark));
      this.#asking = asked.catch(() => {});
      return asked;
    });
    return this.#next;
  }

  /** When the last mark was made up to which this position reaches; undefined when it is behind all that are known. */
  reachedAt(replayed: bigint): number | undefined {
    return this.#kept.findLast(({ flushed }) => flushed <= replayed)?.at;
  }

  #keep(mark: Mark): Mark {
    const last = this.#kept.at(-1);
    // What it had before a failover it may have no more.
    if (last?.timeline !== mark.timeline) this.#kept = [mark];
    else if (mark.at - last.at >= APART_MS) this.#kept.push(mark);
    if (this.#kept.length > MOST) this.#kept.shift();
    return mark;
  }
}

/** In milliseconds. There may be thousands in a second. */
const APART_MS = 50;

/** Of a minute at least. */
const MOST = 1200;
