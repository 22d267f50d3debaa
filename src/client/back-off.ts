import { setTimeout as delay } from 'node:timers/promises';
import { RpcError } from './error.ts';

/** Pauses that become longer, from 0.1 to 2 s, each by chance up to a half shorter, so that those who fail together do not come back together. */
export class BackOff {
  #ms = SHORTEST_MS;

  /** Milliseconds, at least as many as the service has asked for. */
  next(after?: unknown): number {
    const ms = this.#ms * (0.5 + Math.random() / 2);
    this.#ms = Math.min(LONGEST_MS, this.#ms * 2);
    return Math.max(ms, (after instanceof RpcError && after.retryAfterMs) || 0);
  }

  reset(): void {
    this.#ms = SHORTEST_MS;
  }
}

/** Fails with the reason of the abort when the signal is aborted. */
export async function pause(ms: number, signal: AbortSignal | undefined): Promise<void> {
  try {
    await delay(ms, undefined, signal && { signal });
  } catch (error) {
    throw signal?.aborted ? signal.reason : error;
  }
}

const SHORTEST_MS = 100;
const LONGEST_MS = 2000;
