import { setTimeout as delay } from 'node:timers/promises';

/** Something that is read when somebody wants it, once for all who want it at about the same time, and never twice at a time. */
export class Recently<T> {
  readonly #read: () => Promise<T>;
  #reading: Promise<T | undefined> | undefined;
  #last: Promise<T | undefined> = Promise.resolve(undefined);
  #until = Number.NEGATIVE_INFINITY;

  constructor(read: () => Promise<T>) {
    this.#read = read;
  }

  /** Undefined when it cannot be read, or not soon enough: who scrapes waits for some seconds only. Never fails. */
  read(): Promise<T | undefined> {
    const now = performance.now();
    if (now < this.#until) return this.#last;
    this.#until = now + FRESH_MS;
    this.#reading ??= this.#read()
      .catch(() => undefined)
      .finally(() => {
        this.#reading = undefined;
      });
    this.#last = Promise.race([this.#reading, delay(LONGEST_MS, undefined, { ref: false })]);
    return this.#last;
  }
}

const FRESH_MS = 2000;

const LONGEST_MS = 2000;
