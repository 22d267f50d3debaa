import { randomUUID } from 'node:crypto';
import type { EventEmitter } from 'node:events';
import type { DescMethod } from '@bufbuild/protobuf';
import {
  Metadata,
  type ServerDuplexStream,
  type ServerUnaryCall,
  type ServerWritableStream,
  type StatusObject,
  status,
} from '@grpc/grpc-js';
import { ErrorReason, reasonName, StatusError, toStatus, toStatusError } from '../errors.ts';
import { methodName } from './definition.ts';
import type { Identity } from './guard.ts';

/** What a handler knows of its call besides the request. */
export type CallContext = {
  /** Identity of the call in the service's own log: the caller's `x-request-id`, or one made here. */
  readonly requestId: string;
  /** Who calls; undefined where nobody is asked. */
  readonly identity: Identity | undefined;
  /** Aborted when the answer is no longer wanted: cancelled, past its deadline, connection lost. */
  readonly signal: AbortSignal;
  /** Aborted, with one of `WrapUp` as the reason, when a stream should say its last words and end. */
  readonly wrapUp: AbortSignal;
  /**
   * Allows a call that is not a stream this many more milliseconds, because it waits for something to happen. The signal says when to stop
   * waiting and answer: the answer is no longer wanted, the replica shuts down, or the client's deadline is near.
   */
  park(ms: number): AbortSignal;
};

export type WrapUp = 'DRAINING' | 'SLOW_CONSUMER' | 'TOKEN_EXPIRED';

/** What is told of every call when it has ended. */
export type CallReport = {
  method: string;
  code: string;
  reason?: string;
  durationMs: number;
  requestId: string;
  peer: string;
  /** Who called; without a proof of that the address. */
  caller: string;
  /** Messages sent, where the answer is a stream. */
  sent?: number;
  /** Of a refusal by a limit: what is limited, and of whom. */
  limit?: { limit: string; of: string };
  /** The fault behind INTERNAL and UNAVAILABLE; never sent to the caller. */
  error?: unknown;
};

/** A call that is answered by a stream. */
export type StreamCall = ServerWritableStream<Buffer, Buffer> | ServerDuplexStream<Buffer, Buffer>;

/** What has to be known of a call when it begins; it tells when it is cancelled. */
export type Arrived = EventEmitter & Pick<ServerUnaryCall<Buffer, Buffer>, 'metadata' | 'getPeer' | 'getDeadline'>;

/** One call from its arrival to its report. */
export class Call implements CallContext {
  readonly requestId: string;
  sent = 0;
  readonly #aborter = new AbortController();
  readonly #ending = new AbortController();
  readonly #started = performance.now();
  readonly #method: DescMethod;
  readonly #peer: string;
  readonly #report: (report: CallReport) => void;
  readonly #draining: AbortSignal;
  readonly #deadline: number;
  #limitMs = 0;
  #told = false;
  #identity: Identity | undefined;
  #timer: NodeJS.Timeout | undefined;

  constructor(
    method: DescMethod,
    call: Arrived,
    { report, draining }: { report: (report: CallReport) => void; draining: AbortSignal },
  ) {
    this.#method = method;
    this.#draining = draining;
    this.#deadline = Number(call.getDeadline());
    this.#peer = call.getPeer();
    this.#report = report;
    const given = call.metadata.get('x-request-id')[0];
    this.requestId = typeof given === 'string' && /^[\x21-\x7e]{1,128}$/.test(given) ? given : randomUUID();
    call.on('cancelled', () => {
      // Told of every call, also of those that have been answered.
      if (this.#told) return;
      // A client gives up by its own clock, and what it sends then arrives a moment before the deadline has passed here.
      const late = this.#deadline - Date.now() < 100;
      this.abort(
        late
          ? new StatusError(ErrorReason.DEADLINE_EXCEEDED, 'the deadline has passed')
          : new StatusError(ErrorReason.CANCELLED, 'cancelled by the client'),
      );
    });
  }

  /** Address and port of the connection. */
  get peer(): string {
    return this.#peer;
  }

  /** Who calls: the subject of the token or the name of the certificate; where neither is asked for, the address without the port. */
  get caller(): string {
    return this.#identity?.caller ?? this.#peer.replace(/:\d+$/, '');
  }

  get identity(): Identity | undefined {
    return this.#identity;
  }

  async identify(asked: Identity | Promise<Identity>): Promise<void> {
    this.#identity = await asked;
    if (this.#identity.refusal) throw this.#identity.refusal;
    this.signal.throwIfAborted();
  }

  /** Tells a stream to end when it is no longer proved who calls, until it is disposed of. */
  expire(): Disposable {
    const until = this.#identity?.until;
    let timer: NodeJS.Timeout | undefined;
    const look = (left: number) => {
      if (left <= 0) this.end('TOKEN_EXPIRED');
      else timer = setTimeout(() => look(until! - Date.now()), Math.min(left, CLOCK_LOOK_MS));
    };
    if (until !== undefined) look(until - Date.now());
    return { [Symbol.dispose]: () => clearTimeout(timer) };
  }

  get signal(): AbortSignal {
    return this.#aborter.signal;
  }

  get wrapUp(): AbortSignal {
    return this.#ending.signal;
  }

  park(ms: number): AbortSignal {
    if (ms === 0) return this.signal;
    this.limit(this.#limitMs + ms);
    const given = this.#deadline - Date.now();
    const left = Math.floor(given - Math.min(MOST_LAST_WORDS_MS, Math.max(LEAST_LAST_WORDS_MS, given / 10)));
    const near = left < ms ? [AbortSignal.timeout(Math.max(0, left))] : [];
    return AbortSignal.any([this.signal, this.#draining, ...near]);
  }

  /** Aborts the call when it takes longer than this, until it is disposed of. */
  limit(ms: number): Disposable {
    clearTimeout(this.#timer);
    this.#limitMs = ms;
    const tooLong = () => this.abort(new StatusError(ErrorReason.DEADLINE_EXCEEDED, 'the call took too long'));
    this.#timer = setTimeout(tooLong, ms);
    return { [Symbol.dispose]: () => clearTimeout(this.#timer) };
  }

  abort(reason: StatusError): void {
    this.#aborter.abort(reason);
  }

  end(why: WrapUp): void {
    this.#ending.abort(why);
  }

  /** What is waited for, or the reason for which nobody waits for it any more. */
  async unlessAborted<T>(awaited: Promise<T>): Promise<T> {
    const { signal } = this;
    const aborted = Promise.withResolvers<never>();
    const abort = () => aborted.reject(signal.reason);
    if (signal.aborted) abort();
    signal.addEventListener('abort', abort, { once: true });
    try {
      return await Promise.race([awaited, aborted.promise]);
    } finally {
      signal.removeEventListener('abort', abort);
    }
  }

  /** Header of a stream, trailer of an answer. */
  metadata(): Metadata {
    const metadata = new Metadata();
    metadata.set('x-request-id', this.requestId);
    return metadata;
  }

  succeeded(): void {
    this.#tell({ code: 'OK' });
  }

  failed(error: unknown): StatusObject {
    const refusal = toStatusError(error);
    const answer = toStatus(refusal, this.requestId);
    answer.metadata.merge(this.metadata());
    this.#tell({
      code: status[answer.code],
      reason: reasonName(refusal.reason),
      ...(refusal.metadata['limit'] && { limit: { limit: refusal.metadata['limit'], of: refusal.metadata['of']! } }),
      ...(refusal.cause !== undefined && { error: refusal.cause }),
    });
    return answer;
  }

  #tell(outcome: Pick<CallReport, 'code' | 'reason' | 'limit' | 'error'>): void {
    this.#told = true;
    this.#report({
      method: methodName(this.#method),
      ...outcome,
      durationMs: Math.round((performance.now() - this.#started) * 1000) / 1000,
      requestId: this.requestId,
      peer: this.#peer,
      caller: this.caller,
      ...(/server|bidi/.test(this.#method.methodKind) && { sent: this.sent }),
    });
  }
}

/** How often to look at the clock, which may jump while a timer runs. */
const CLOCK_LOOK_MS = 60_000;

/**
 * What an answer may take to reach a client before its deadline, in milliseconds: a tenth of the time that is given, within these. What was claimed and
 * not heard of is nobody's until its lease ends.
 */
const LEAST_LAST_WORDS_MS = 100;
const MOST_LAST_WORDS_MS = 1000;
