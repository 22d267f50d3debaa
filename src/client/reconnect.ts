import { status } from '@grpc/grpc-js';
import { BackOff, pause } from './back-off.ts';
import { failureOf, RpcError } from './error.ts';

/** What everything takes that goes on over many streams. */
export type ReconnectOptions = {
  /** Ends it: it fails with the signal's reason. */
  signal?: AbortSignal;
  /** For how long it may be in vain to open streams until it fails; else a minute. `Infinity` is for ever. */
  patienceMs?: number;
  /** Told whenever the stream has ended and another one is about to be opened. */
  onReconnect?: (why: Interruption) => void;
};

/** Why a stream was not the last one: the reason of its `end` (MAX_AGE, DRAINING and so on), or the status and the error that it broke with. */
export type Interruption = { reason: string; error?: unknown };

/** Decides whether one more stream is opened, and when. */
export class Reconnects {
  readonly #options: ReconnectOptions;
  readonly #backOff = new BackOff();
  #inVainSince: number | undefined;

  constructor(options: ReconnectOptions) {
    this.#options = options;
  }

  /** The service has said something: all is well. */
  heard(): void {
    this.#inVainSince = undefined;
    this.#backOff.reset();
  }

  /** Waits until it is time for the next stream; fails with what the last one failed with when there is to be none. */
  async after(reason: string | undefined, error?: unknown): Promise<void> {
    const { signal, patienceMs = 60_000, onReconnect } = this.#options;
    const failure = error === undefined ? new Silence() : failureOf(error, signal);
    signal?.throwIfAborted();
    if (!reason && !mayComeBack(failure)) throw failure;
    this.#inVainSince ??= performance.now();
    if (performance.now() - this.#inVainSince > patienceMs) throw failure;
    onReconnect?.({ reason: reason ?? nameOf(failure), ...(error !== undefined && { error: failure }) });
    await pause(this.#backOff.next(failure), signal);
  }
}

function mayComeBack(failure: unknown): boolean {
  if (failure instanceof RpcError) return failure.passing || failure.reason === 'TOKEN_EXPIRED';
  return failure instanceof Silence;
}

/** Something between has ended the stream. */
class Silence extends Error {
  override readonly message = 'the stream ended without a last word';
}

function nameOf(failure: unknown): string {
  return failure instanceof RpcError ? (failure.reason ?? status[failure.code]) : 'ENDED';
}
