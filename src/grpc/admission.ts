import { ErrorReason, exhausted } from '../errors.ts';
import { type Asking, Places } from './places.ts';
import { Rates } from './rates.ts';

/** How many at a time; in bytes a second where it is a rate. Undefined is no limit. */
export type AdmissionLimits = {
  /** Of all calls that are running, streams aside, together. */
  requestBytes: number;
  calls: number;
  callsPerConnection: number;
  callsPerCaller: number | undefined;
  streams: number;
  streamsPerConnection: number;
  streamsPerCaller: number | undefined;
  bytesPerConnection: number | undefined;
  bytesPerCaller: number | undefined;
};

/**
 * Counts the calls that are running and refuses those above the limits of this replica, of one connection and of one caller: HTTP/2's own
 * limit would let them wait in silence.
 */
export class Admission {
  readonly #places: { calls: Places; streams: Places };
  readonly #rates: Rates[];
  readonly #refused = new Map<string, number>();
  readonly #mostBytes: number;
  #bytes = 0;
  #calls = 0;
  #idle: (() => void)[] = [];

  constructor(limits: AdmissionLimits) {
    this.#mostBytes = limits.requestBytes;
    this.#places = {
      calls: new Places('calls', ErrorReason.TOO_MANY_CALLS, {
        replica: limits.calls,
        connection: limits.callsPerConnection,
        caller: limits.callsPerCaller,
      }),
      streams: new Places('streams', ErrorReason.TOO_MANY_STREAMS, {
        replica: limits.streams,
        connection: limits.streamsPerConnection,
        caller: limits.streamsPerCaller,
      }),
    };
    this.#rates = [
      ...(limits.bytesPerConnection ? [new Rates('connection', limits.bytesPerConnection)] : []),
      ...(limits.bytesPerCaller ? [new Rates('caller', limits.bytesPerCaller)] : []),
    ];
  }

  /** Calls of any kind that are running. */
  get calls(): number {
    return this.#calls;
  }

  /** Streams among them. */
  get streams(): number {
    return this.#places.streams.taken;
  }

  /** How many calls each limit has refused since the start: by what is limited and of whom, such as `streams of connection`. */
  get refused(): ReadonlyMap<string, number> {
    return this.#refused;
  }

  running(): Disposable {
    this.#calls++;
    return {
      [Symbol.dispose]: () => {
        if (--this.#calls === 0) for (const resolve of this.#idle.splice(0)) resolve();
      },
    };
  }

  /** A place for a call that is not a stream, and for its request; one that is larger than all may be is taken when nothing else runs. */
  call(asking: Asking, bytes: number): Disposable {
    if (this.#bytes > 0 && this.#bytes + bytes > this.#mostBytes) {
      const most = this.#mostBytes;
      const message = `the requests that are being worked on have ${most} bytes already`;
      throw exhausted(ErrorReason.OVERLOADED, message, { limit: 'request bytes', of: 'replica', most }, 1000);
    }
    const place = this.#places.calls.take(asking);
    this.#bytes += bytes;
    return {
      [Symbol.dispose]: () => {
        this.#bytes -= bytes;
        place[Symbol.dispose]();
      },
    };
  }

  stream(asking: Asking): Disposable {
    return this.#places.streams.take(asking);
  }

  /** Takes so many bytes from what somebody may send; throws when there is nothing left, and takes nothing then. */
  spend(asking: Asking, bytes: number): void {
    const longest = this.#longest(asking);
    if (longest) {
      throw exhausted(
        ErrorReason.RATE_EXCEEDED,
        `this ${longest.of} sends more than ${longest.rate} bytes a second`,
        { limit: 'bytes', of: longest.of, most: longest.rate, whose: longest.whose },
        longest.ms,
      );
    }
    for (const rates of this.#rates) rates.spend(asking, bytes);
  }

  /** The same for a stream, which is slowed instead of being refused: for how many milliseconds it is not to be read. */
  pace(asking: Asking, bytes: number): number {
    for (const rates of this.#rates) rates.spend(asking, bytes);
    return this.#longest(asking)?.ms ?? 0;
  }

  /** Told of every refusal that names a limit, also of those that are not decided here. */
  count({ limit, of }: { limit: string; of: string }): void {
    const key = `${limit} of ${of}`;
    this.#refused.set(key, (this.#refused.get(key) ?? 0) + 1);
  }

  /** Resolves when no call is running. */
  async idle(): Promise<void> {
    if (this.#calls > 0) await new Promise<void>(resolve => this.#idle.push(resolve));
  }

  #longest(asking: Asking) {
    let longest: { of: string; rate: number; whose: string; ms: number } | undefined;
    for (const rates of this.#rates) {
      const ms = rates.waitOf(asking);
      if (ms > (longest?.ms ?? 0)) longest = { of: rates.of, rate: rates.rate, whose: rates.keyOf(asking), ms };
    }
    return longest;
  }
}
