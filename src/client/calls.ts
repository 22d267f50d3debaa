import { randomUUID } from 'node:crypto';
import { type DescMethod, type DescService, getOption } from '@bufbuild/protobuf';
import type { Client } from '@grpc/grpc-js';
import { Scope, scope } from '../gen/backup/v1/scope_pb.ts';
import { createClient, type Options, type TypedClient } from '../grpc/client.ts';
import { failureOf } from './error.ts';
import { retrying } from './retry.ts';

/** What every call takes besides its request. */
export type CallOptions = {
  /** Cancels the call, which fails with the signal's reason then. */
  signal?: AbortSignal;
  /** For the call with all its attempts; else as the connection was told. A stream has no limit unless it is given. */
  timeoutMs?: number;
  /** `false`: one attempt, and a call that changes something goes without a request id unless the request has one. */
  retry?: boolean;
  metadata?: Record<string, string>;
};

/** A service: promises, and iterables where a request or an answer is a stream. What fails is an `RpcError`. */
export type ServiceClient<S extends DescService> = {
  [K in keyof TypedClient<S>]: TypedClient<S>[K] extends (request: infer R, options?: Options) => infer A
    ? (request: R, options?: CallOptions) => A
    : never;
};

/**
 * Calls a service. A unary call has a deadline and is repeated within it when that may help and changes nothing: what reads, and what has a
 * request id, which is made once for all attempts where the caller gives none. Streams are not repeated.
 */
export function serviceClient<S extends DescService>(
  service: S,
  channel: Client,
  defaults: { timeoutMs: number },
): ServiceClient<S> {
  const once = createClient(service, channel) as Record<string, unknown>;
  const client = service.methods.map(method => [method.localName, call(method, once[method.localName], defaults)]);
  return Object.fromEntries(client);
}

function call(method: DescMethod, once: unknown, defaults: { timeoutMs: number }): unknown {
  if (method.methodKind === 'unary') return unary(method, once as Unary, defaults);
  if (method.methodKind === 'client_streaming')
    return (requests: object, options: CallOptions = {}) =>
      (once as Unary)(requests, options).catch(error => {
        throw failureOf(error, options.signal);
      });
  return (requests: object, options: CallOptions = {}) => told((once as Streaming)(requests, options), options.signal);
}

type Unary = (request: object, options: Options) => Promise<unknown>;
type Streaming = (request: object, options: Options) => AsyncIterable<unknown>;

function unary(method: DescMethod, once: Unary, defaults: { timeoutMs: number }) {
  const takesId = method.input.fields.some(({ name }) => name === 'request_id');
  const reads = getOption(method, scope) === Scope.READ;
  return async (given: object, options: CallOptions = {}) => {
    const { retry = true, timeoutMs = defaults.timeoutMs, signal } = options;
    const named = 'requestId' in given && given.requestId !== '';
    const request = retry && takesId && !named ? { ...given, requestId: randomUUID() } : given;
    const attempt = (ms: number) => once(request, { ...options, timeoutMs: ms });
    if (retry && (reads || takesId)) return retrying(attempt, { timeoutMs, signal });
    return attempt(timeoutMs).catch(error => {
      throw failureOf(error, signal);
    });
  };
}

async function* told<T>(stream: AsyncIterable<T>, signal: AbortSignal | undefined): AsyncGenerator<T> {
  try {
    yield* stream;
  } catch (error) {
    throw failureOf(error, signal);
  }
}
