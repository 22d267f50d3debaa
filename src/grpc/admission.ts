import { ErrorReason, retryAfter, StatusError } from '../errors.ts';

/** Counts the calls that are running, and refuses streams above the limits of a replica and of one connection. */
export class Admission {
  readonly #limits: { streams: number; streamsPerConnection: number };
  readonly #streamsOf = new Map<string, number>();
  #calls = 0;
  #streams = 0;
  #idle: (() => void)[] = [];

  constructor(limits: { streams: number; streamsPerConnection: number }) {
    this.#limits = limits;
  }

  /** Calls of any kind that are running. */
  get calls(): number {
    return this.#calls;
  }

  /** Streams among them. */
  get streams(): number {
    return this.#streams;
  }

  call(): Disposable {
    this.#calls++;
    return {
      [Symbol.dispose]: () => {
        if (--this.#calls === 0) for (const resolve of this.#idle.splice(0)) resolve();
      },
    };
  }

  /** `peer` is the address and port of the connection. HTTP/2's own limit would let the calls above it wait in silence. */
  stream(peer: string): Disposable {
    const mine = this.#streamsOf.get(peer) ?? 0;
    if (this.#streams >= this.#limits.streams) throw tooMany('replica', this.#limits.streams);
    if (mine >= this.#limits.streamsPerConnection) throw tooMany('connection', this.#limits.streamsPerConnection);
    this.#streams++;
    this.#streamsOf.set(peer, mine + 1);
    return {
      [Symbol.dispose]: () => {
        this.#streams--;
        const left = this.#streamsOf.get(peer)! - 1;
        if (left > 0) this.#streamsOf.set(peer, left);
        else this.#streamsOf.delete(peer);
      },
    };
  }

  /** Resolves when no call is running. */
  async idle(): Promise<void> {
    if (this.#calls > 0) await new Promise<void>(resolve => this.#idle.push(resolve));
  }
}

function tooMany(what: string, limit: number): StatusError {
  return new StatusError(ErrorReason.TOO_MANY_STREAMS, `this ${what} has ${limit} open streams already`, {
    details: [retryAfter(5000)],
  });
}
