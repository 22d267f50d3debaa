import {
  create,
  type DescMessage,
  type DescMethod,
  type DescService,
  fromBinary,
  type MessageInitShape,
  type MessageShape,
  toBinary,
} from '@bufbuild/protobuf';
import {
  type CallOptions,
  type Client,
  type ClientReadableStream,
  type ClientWritableStream,
  Metadata,
} from '@grpc/grpc-js';
import { methodDefinition } from './definition.ts';
import { Outlet } from './write.ts';

/** What every call takes besides its request. */
export type Options = { signal?: AbortSignal; timeoutMs?: number; metadata?: Record<string, string> };

/** A generated service as its client sees it: promises, and iterables where a request or an answer is a stream. */
export type TypedClient<S extends DescService> = { [K in keyof S['method']]: Method<S['method'][K]> };

type Method<M> =
  M extends Kind<'unary', infer I, infer O>
    ? (request: MessageInitShape<I>, options?: Options) => Promise<MessageShape<O>>
    : M extends Kind<'server_streaming', infer I, infer O>
      ? (request: MessageInitShape<I>, options?: Options) => AsyncIterable<MessageShape<O>>
      : M extends Kind<'client_streaming', infer I, infer O>
        ? (requests: Requests<MessageInitShape<I>>, options?: Options) => Promise<MessageShape<O>>
        : M extends Kind<'bidi_streaming', infer I, infer O>
          ? (requests: Requests<MessageInitShape<I>>, options?: Options) => AsyncIterable<MessageShape<O>>
          : never;

type Requests<R> = AsyncIterable<R> | Iterable<R>;

type Kind<K, I extends DescMessage, O extends DescMessage> = { methodKind: K; input: I; output: O };

/**
 * Calls a generated service over a channel. Leaving a loop over a stream cancels the call, and so does a stream of requests that throws;
 * such a stream is asked for its next request when the one before has gone out.
 */
export function createClient<S extends DescService>(service: S, channel: Client): TypedClient<S> {
  const client: Record<string, unknown> = {};
  for (const method of service.methods) {
    if (method.methodKind === 'unary') client[method.localName] = unary(method, channel);
    if (method.methodKind === 'server_streaming') client[method.localName] = serverStreaming(method, channel);
    if (method.methodKind === 'client_streaming') client[method.localName] = clientStreaming(method, channel);
    if (method.methodKind === 'bidi_streaming') client[method.localName] = bidiStreaming(method, channel);
  }
  return client as TypedClient<S>;
}

function unary(method: DescMethod, channel: Client) {
  const { path, requestSerialize, responseDeserialize } = methodDefinition(method);
  return (request: object, options: Options = {}) =>
    new Promise((resolve, reject) => {
      const call = channel.makeUnaryRequest(
        path,
        requestSerialize,
        responseDeserialize,
        encode(method.input, request),
        toMetadata(options),
        toCallOptions(options),
        (error, bytes) => {
          link[Symbol.dispose]();
          if (error) reject(error);
          else resolve(fromBinary(method.output, bytes!));
        },
      );
      const link = cancelWith(options.signal, call);
    });
}

function serverStreaming(method: DescMethod, channel: Client) {
  const { path, requestSerialize, responseDeserialize } = methodDefinition(method);
  return async function* (request: object, options: Options = {}) {
    const call: ClientReadableStream<Buffer> = channel.makeServerStreamRequest(
      path,
      requestSerialize,
      responseDeserialize,
      encode(method.input, request),
      toMetadata(options),
      toCallOptions(options),
    );
    using _link = cancelWith(options.signal, call);
    try {
      for await (const bytes of call) yield fromBinary(method.output, bytes as Buffer);
    } finally {
      // A grpc-js stream does not cancel its call when a loop over it is left. After its end this does nothing.
      call.on('error', () => {});
      call.cancel();
    }
  };
}

function clientStreaming(method: DescMethod, channel: Client) {
  const { path, requestSerialize, responseDeserialize } = methodDefinition(method);
  return async (requests: Requests<object>, options: Options = {}) => {
    const over = new AbortController();
    let call!: ClientWritableStream<Buffer>;
    const answer = new Promise<Buffer>((resolve, reject) => {
      call = channel.makeClientStreamRequest(
        path,
        requestSerialize,
        responseDeserialize,
        toMetadata(options),
        toCallOptions(options),
        (error, bytes) => {
          over.abort();
          if (error) reject(error);
          else resolve(bytes!);
        },
      );
    });
    using _link = cancelWith(options.signal, call);
    const sending = sendAll(method.input, requests, call, over.signal).catch((fault: unknown) => {
      call.cancel();
      throw fault;
    });
    // The answer may come before all is sent: a refusal does.
    await Promise.race([sending, answer]);
    return fromBinary(method.output, await answer);
  };
}

function bidiStreaming(method: DescMethod, channel: Client) {
  const { path, requestSerialize, responseDeserialize } = methodDefinition(method);
  return async function* (requests: Requests<object>, options: Options = {}) {
    const over = new AbortController();
    const call = channel.makeBidiStreamRequest(
      path,
      requestSerialize,
      responseDeserialize,
      toMetadata(options),
      toCallOptions(options),
    );
    using _link = cancelWith(options.signal, call);
    let fault: { error: unknown } | undefined;
    void sendAll(method.input, requests, call, over.signal).catch((error: unknown) => {
      fault = { error };
      call.cancel();
    });
    try {
      for await (const bytes of call) yield fromBinary(method.output, bytes as Buffer);
    } catch (error) {
      throw fault ? fault.error : error;
    } finally {
      over.abort();
      call.on('error', () => {});
      call.cancel();
    }
  };
}

async function sendAll(
  schema: DescMessage,
  requests: Requests<object>,
  call: ClientWritableStream<Buffer>,
  over: AbortSignal,
): Promise<void> {
  using outlet = new Outlet(call, over, LONGEST_TIMER);
  for await (const request of requests) {
    if (!(await outlet.write(encode(schema, request)))) return;
  }
  call.end();
}

/** Milliseconds. A peer that does not read is no matter of the sender: the deadline of the call ends it. */
const LONGEST_TIMER = 2 ** 31 - 1;

function encode(schema: DescMessage, request: object): Buffer {
  const bytes = toBinary(schema, create(schema, request as MessageInitShape<DescMessage>));
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}

function toMetadata({ metadata = {} }: Options): Metadata {
  const all = new Metadata();
  for (const [key, value] of Object.entries(metadata)) all.set(key, value);
  return all;
}

function toCallOptions({ timeoutMs }: Options): CallOptions {
  return timeoutMs === undefined ? {} : { deadline: Date.now() + timeoutMs };
}

/** Cancels the call when the signal is aborted, until it is disposed of. */
function cancelWith(signal: AbortSignal | undefined, call: { cancel(): void }): Disposable {
  const cancel = () => call.cancel();
  if (signal?.aborted) cancel();
  signal?.addEventListener('abort', cancel, { once: true });
  return { [Symbol.dispose]: () => signal?.removeEventListener('abort', cancel) };
}
