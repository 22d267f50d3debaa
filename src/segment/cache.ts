/** What was read last, of so many bytes in all; who asks for what is being read waits for it with the others. */
export class Cache<T extends { readonly weight: number }> {
  bytes = 0;
  readonly #most: number;
  readonly #kept = new Map<string, T>();
  readonly #filling = new Map<string, Promise<T | undefined>>();
  readonly #waiting: (() => void)[] = [];
  #free: number;

  /** Fills `fills` at a time. */
  constructor(most: number, fills: number) {
    this.#most = most;
    this.#free = fills;
  }

  get(key: string): T | undefined {
    const value = this.#kept.get(key);
    if (!value) return undefined;
    // The one that was asked for last is the last to go.
    this.#kept.delete(key);
    this.#kept.set(key, value);
    return value;
  }

  fill(key: string, read: () => Promise<T | undefined>): Promise<T | undefined> {
    const filling = this.#filling.get(key) ?? this.#fill(key, read).finally(() => this.#filling.delete(key));
    this.#filling.set(key, filling);
    return filling;
  }

  async #fill(key: string, read: () => Promise<T | undefined>): Promise<T | undefined> {
    if (this.#free === 0) await new Promise<void>(resolve => this.#waiting.push(resolve));
    else this.#free--;
    try {
      const value = await read();
      if (value) this.#keep(key, value);
      return value;
    } finally {
      // Who waits takes the place over.
      const next = this.#waiting.shift();
      if (next) next();
      else this.#free++;
    }
  }

  #keep(key: string, value: T): void {
    if (value.weight > this.#most) return;
    this.#kept.set(key, value);
    this.bytes += value.weight;
    for (const [oldest, { weight }] of this.#kept) {
      if (this.bytes <= this.#most) break;
      this.#kept.delete(oldest);
      this.bytes -= weight;
    }
  }
}
