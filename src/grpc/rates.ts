import type { Asking } from './places.ts';

/**
 * A token bucket for each connection or each caller. It holds what may be sent in a second, and whoever has anything left may send one more message
 * of any size: what that takes too much is missing afterwards. So the rate holds on the average, and no message is too large for it.
 */
export class Rates {
  readonly of: 'connection' | 'caller';
  /** Bytes a second. */
  readonly rate: number;
  readonly #buckets = new Map<string, { left: number; at: number }>();
  #forgetAt = MANY;

  constructor(of: 'connection' | 'caller', rate: number) {
    this.of = of;
    this.rate = rate;
  }

  keyOf({ peer, caller }: Asking): string {
    return this.of === 'caller' ? caller : peer;
  }

  /** In how many whole milliseconds there is something left again; 0 when there is. */
  waitOf(asking: Asking): number {
    const bucket = this.#buckets.get(this.keyOf(asking));
    if (!bucket) return 0;
    const left = this.#filled(bucket, performance.now());
    return left > 0 ? 0 : Math.floor((-left / this.rate) * 1000) + 1;
  }

  spend(asking: Asking, bytes: number): void {
    const key = this.keyOf(asking);
    const now = performance.now();
    const bucket = this.#buckets.get(key);
    if (bucket) {
      bucket.left = this.#filled(bucket, now) - bytes;
      bucket.at = now;
      return;
    }
    if (this.#buckets.size >= this.#forgetAt) this.#forget(now);
    this.#buckets.set(key, { left: this.rate - bytes, at: now });
  }

  #filled({ left, at }: { left: number; at: number }, now: number): number {
    return Math.min(this.rate, left + ((now - at) / 1000) * this.rate);
  }

  /** A full bucket is as good as none. */
  #forget(now: number): void {
    for (const [key, bucket] of this.#buckets) if (this.#filled(bucket, now) >= this.rate) this.#buckets.delete(key);
    this.#forgetAt = Math.max(MANY, 2 * this.#buckets.size);
  }
}

const MANY = 1000;
