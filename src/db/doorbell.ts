import { createHmac } from 'node:crypto';
import { Latch } from '../latch.ts';
import { Others, type OthersOptions } from './doorbell/others.ts';

export type DoorbellOptions = Omit<OthersOptions, 'heard' | 'missed'> & {
  /** Without it nobody is woken, not even on this replica: whoever waits finds out by looking again. */
  enabled: boolean;
};

/**
 * Wakes whoever waits for a key, on every replica: by PostgreSQL's NOTIFY, or a broker's publish and subscribe. A ring is a hint and carries no
 * data; it may be lost, and whoever waits looks again after a while by itself.
 */
export class Doorbell implements AsyncDisposable {
  readonly #latches = new Map<string, Set<Latch>>();
  readonly #observers = new Set<Observer>();
  readonly #others: Others | undefined;

  constructor({ enabled, ...options }: DoorbellOptions) {
    if (!enabled) return;
    this.#others = new Others({ ...options, heard: key => this.#wake(key), missed: () => this.#wakeAll() });
  }

  /** Latches that are waited on, for a count of what is left behind. */
  get subscribers(): number {
    return new Set([...this.#latches.values()].flatMap(latches => [...latches])).size;
  }

  /** Whether rings of other replicas are heard; undefined when none are to be. */
  get connected(): boolean | undefined {
    return this.#others?.connected;
  }

  /** Connections for that: each but the first one replaces one that broke. */
  get connections(): number {
    return this.#others?.connections ?? 0;
  }

  /** Rings that the other replicas were not sent: too many waited for it, or the connection broke meanwhile. */
  get dropped(): number {
    return this.#others?.dropped ?? 0;
  }

  /** A latch that is set whenever one of the keys is rung, and whenever a ring may have been missed. */
  subscribe(keys: readonly string[]): Latch & Disposable {
    const latch = Object.assign(new Latch(), {
      [Symbol.dispose]: () => {
        for (const key of keys) {
          const latches = this.#latches.get(key);
          latches?.delete(latch);
          if (latches?.size === 0) this.#latches.delete(key);
        }
      },
    });
    for (const key of keys) this.#latches.set(key, (this.#latches.get(key) ?? new Set()).add(latch));
    return latch;
  }

  /** Hears every ring, on whichever replica; undefined whenever some may have been missed. */
  observe(observer: Observer): Disposable {
    this.#observers.add(observer);
    return { [Symbol.dispose]: () => void this.#observers.delete(observer) };
  }

  /** Wakes this replica at once and the others soon. Never fails and never waits. */
  ring(key: string): void {
    if (!this.#others) return;
    this.#wake(key);
    this.#others.ring(key);
  }

  /** Wakes the other replicas only. */
  ringElsewhere(key: string): void {
    this.#others?.ring(key);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#others?.[Symbol.asyncDispose]();
  }

  #wake(key: string): void {
    for (const latch of this.#latches.get(key) ?? []) latch.set();
    for (const observer of this.#observers) observer(key);
  }

  #wakeAll(): void {
    for (const latches of this.#latches.values()) for (const latch of latches) latch.set();
    for (const observer of this.#observers) observer(undefined);
  }
}

/** Where the replicas on one database meet on a broker that they share with others: made of a secret of theirs, which it does not tell. */
export function channelOf(secret: string): string {
  return `backup_doorbell.${createHmac('sha256', secret).update('doorbell').digest('hex').slice(0, 16)}`;
}

type Observer = (key: string | undefined) => void;
