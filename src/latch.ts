/** Once set it stays set until it is cleared, so nothing that happens between a look and a wait is missed. */
export class Latch {
  #set = false;
  #wake: (() => void) | undefined;

  get isSet(): boolean {
    return this.#set;
  }

  set(): void {
    this.#set = true;
    this.#wake?.();
  }

  clear(): void {
    this.#set = false;
  }

  /** Resolves when the latch is set, `ms` have passed or `signal` is aborted, whichever is first. */
  async wait(ms: number, signal: AbortSignal): Promise<void> {
    if (this.#set || signal.aborted) return;
    const { promise, resolve } = Promise.withResolvers<void>();
    const timer = setTimeout(resolve, Math.max(0, ms));
    signal.addEventListener('abort', resolve as () => void, { once: true });
    this.#wake = resolve;
    try {
      await promise;
    } finally {
      this.#wake = undefined;
      clearTimeout(timer);
      signal.removeEventListener('abort', resolve as () => void);
    }
  }
}
