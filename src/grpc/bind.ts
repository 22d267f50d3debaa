import type { Readable, Writable } from 'node:stream';
import { setTimeout as delay } from 'node:timers/promises';
import {
  create,
  type DescMessage,
  type DescMethod,
  type DescService,
  fromBinary,
  type Message,
  type MessageInitShape,
  type MessageShape,
  toBinary,
} from '@bufbuild/protobuf';
import type {
  handleClientStreamingCall,
  handleUnaryCall,
  Metadata,
  Server,
  UntypedHandleCall,
  UntypedServiceImplementation,
} from '@grpc/grpc-js';
import { ErrorReason, retryAfter, StatusError } from '../errors.ts';
import type { Admission } from './admission.ts';
import { Call, type CallContext, type CallReport, type StreamCall, type WrapUp } from './call.ts';
import { serviceDefinition } from './definition.ts';
import { Frame, sendFrames } from './frame.ts';
import type { Guard } from './guard.ts';
import { Outlet } from './write.ts';

/**
 * One handler for each method of a generated service: an async function, or an async generator where the answer is a stream. Requests that
 * are a stream are read at the handler's pace: what it does not ask for stays with the peer. Their end alone does not say that they are
 * complete: a client that cancels may end them a moment before. An answer that is a Buffer is encoded already.
 */
export type Handlers<S extends DescService> = { [K in keyof S['method']]: Handler<S['method'][K]> };

type Handler<M> =
  M extends Kind<'unary', infer I, infer O>
    ? (request: MessageShape<I>, context: CallContext) => Promise<MessageInitShape<O> | Buffer>
    : M extends Kind<'server_streaming', infer I, infer O>
      ? (request: MessageShape<I>, context: CallContext) => AsyncIterable<MessageInitShape<O> | Buffer | Frame>
      : M extends Kind<'client_streaming', infer I, infer O>
        ? (requests: AsyncIterable<MessageShape<I>>, context: CallContext) => Promise<MessageInitShape<O>>
        : M extends Kind<'bidi_streaming', infer I, infer O>
          ? (requests: AsyncIterable<MessageShape<I>>, context: CallContext) => AsyncIterable<MessageInitShape<O>>
          : never;

type Kind<K, I extends DescMessage, O extends DescMessage> = { methodKind: K; input: I; output: O };

/** What all calls of a server share. */
export type Transport = {
  /** Throws what is wrong with a message that took so many bytes. */
  validate(schema: DescMessage, message: Message, bytes: number): void;
  report(call: CallReport): void;
  /** Runs each call, its report included, within something; without it they run by themselves. */
  around?: Around | undefined;
  admission: Admission;
  /** Absent: everybody may call everything. */
  guard?: Guard | undefined;
  /** Methods whose requests are counted against what a connection and a caller may send in a second. */
  metered: ReadonlySet<DescMethod>;
  /** Runs a handler whose statements nobody needs any more once the signal is aborted. */
  whileWanted<T>(signal: AbortSignal, work: () => T): T;
  /** Aborted when the server starts to shut down. */
  draining: AbortSignal;
  /** How long a call without a stream may take. */
  callTimeoutMs: number;
  /** How long a peer may take to accept one message of a stream, and to send one when it is to answer for all of them. */
  writeTimeoutMs: number;
};

export type Around = (method: DescMethod, metadata: Metadata, run: () => Promise<void>) => Promise<void>;

/** A service and its handlers. */
export type Served = [service: DescService, handlers: object];

export function served<S extends DescService>(service: S, handlers: Handlers<S>): Served {
  return [service, handlers];
}

/** Serves a generated service with these handlers. */
export function bind<S extends DescService>(
  server: Server,
  service: S,
  handlers: Handlers<S>,
  transport: Transport,
): void {
  const implementation: UntypedServiceImplementation = {};
  for (const method of service.methods) {
    const handler: unknown = handlers[method.localName as keyof S['method']];
    implementation[method.localName] = surrounded(method, implement(method, handler, transport), transport);
  }
  server.addService(serviceDefinition(service), implementation);
}

function implement(method: DescMethod, handler: unknown, transport: Transport) {
  if (method.methodKind === 'unary') return unary(method, handler as UnaryHandler, transport);
  if (method.methodKind === 'client_streaming') return collecting(method, handler as CollectingHandler, transport);
  return streaming(method, handler as StreamHandler, transport);
}

function surrounded(method: DescMethod, serve: UntypedHandleCall, { around }: Transport): UntypedHandleCall {
  if (!around) return serve;
  const run = serve as (...call: unknown[]) => Promise<void>;
  return (call: { metadata: Metadata }, ...rest: unknown[]) => around(method, call.metadata, () => run(call, ...rest));
}

type UnaryHandler = (request: Message, context: CallContext) => Promise<object>;
type CollectingHandler = (requests: AsyncIterable<Message>, context: CallContext) => Promise<object>;
type StreamHandler = (request: Message | AsyncIterable<Message>, context: CallContext) => AsyncIterable<object>;

function unary(method: DescMethod, handler: UnaryHandler, transport: Transport): handleUnaryCall<Buffer, Buffer> {
  const admit = transport.guard?.(method);
  const { admission } = transport;
  const metered = transport.metered.has(method);
  // Whoever has too much to do is not dead.
  const limited = !method.parent.typeName.startsWith('grpc.health.');
  return async (call, callback) => {
    using _running = admission.running();
    const own = new Call(method, call, transport);
    using _limit = own.limit(transport.callTimeoutMs);
    try {
      refuseWhenDraining(transport);
      if (admit) await own.identify(admit(call));
      using _place = limited ? admission.call(own, call.request.length) : undefined;
      if (metered) admission.spend(own, call.request.length);
      const request = decode(method.input, call.request, transport);
      const answer = transport.whileWanted(own.signal, () => handler(request, own));
      const bytes = encode(method.output, await own.unlessAborted(answer));
      own.succeeded();
      callback(null, bytes, own.metadata());
    } catch (error) {
      callback(own.failed(error));
    }
  };
}

/** Many requests, one answer. */
function collecting(
  method: DescMethod,
  handler: CollectingHandler,
  transport: Transport,
): handleClientStreamingCall<Buffer, Buffer> {
  const admit = transport.guard?.(method);
  return async (call, callback) => {
    using _running = transport.admission.running();
    const own = new Call(method, call, transport);
    const drain = () => own.end('DRAINING');
    transport.draining.addEventListener('abort', drain, { once: true });
    try {
      refuseWhenDraining(transport);
      if (admit) await own.identify(admit(call));
      using _expiry = own.expire();
      using _stream = transport.admission.stream(own);
      call.sendMetadata(own.metadata());
      // Also when nobody waits for the answer any more: the call is over when the handler has cleaned up.
      const answer = await handler(receive(method, call, own, transport), own);
      own.signal.throwIfAborted();
      const bytes = encode(method.output, answer);
      own.succeeded();
      callback(null, bytes);
    } catch (error) {
      // A peer that is still sending is told, too: what it sends from here on is thrown away.
      callback(own.failed(own.signal.aborted ? own.signal.reason : error));
    } finally {
      transport.draining.removeEventListener('abort', drain);
    }
  };
}

/** The requests of such a call. While one is waited for, and only then, silence and whatever ends streams end the call. */
async function* receive(method: DescMethod, call: Readable, own: Call, transport: Transport): AsyncGenerator<Message> {
  const silent = () => own.abort(new StatusError(ErrorReason.DEADLINE_EXCEEDED, 'nothing was sent for too long'));
  const end = () => own.abort(endedBy(own.wrapUp.reason));
  const requests: AsyncIterator<Buffer> = call.iterator({ destroyOnReturn: false });
  const next = async () => {
    const timer = setTimeout(silent, transport.writeTimeoutMs);
    own.wrapUp.addEventListener('abort', end, { once: true });
    if (own.wrapUp.aborted) end();
    try {
      return await own.unlessAborted(requests.next());
    } finally {
      clearTimeout(timer);
      own.wrapUp.removeEventListener('abort', end);
    }
  };
  for (let given = await next(); !given.done; given = await next()) yield decode(method.input, given.value, transport);
}

function streaming(method: DescMethod, handler: StreamHandler, transport: Transport) {
  const admit = transport.guard?.(method);
  return async (call: StreamCall): Promise<void> => {
    using _running = transport.admission.running();
    const own = new Call(method, call, transport);
    const drain = () => own.end('DRAINING');
    transport.draining.addEventListener('abort', drain, { once: true });
    try {
      refuseWhenDraining(transport);
      if (admit) await own.identify(admit(call));
      using _expiry = own.expire();
      using _stream = transport.admission.stream(own);
      const request =
        'request' in call ? decode(method.input, call.request, transport) : decodeAll(method, call, own, transport);
      // At once, or a client cannot tell an accepted stream from a hanging one.
      call.sendMetadata(own.metadata());
      sendFrames(call);
      await pump(method, handler(request, own), call, own, transport.writeTimeoutMs);
      own.signal.throwIfAborted();
      own.succeeded();
      call.end();
    } catch (error) {
      // `destroy` and `stream.pipeline` lose the status; after a cancel nobody is there to read one.
      const status = own.failed(own.signal.aborted ? own.signal.reason : error);
      if (!own.signal.aborted) call.emit('error', status);
    } finally {
      transport.draining.removeEventListener('abort', drain);
    }
  };
}

async function pump(
  method: DescMethod,
  answers: AsyncIterable<object>,
  call: StreamCall,
  own: Call,
  timeoutMs: number,
): Promise<void> {
  using outlet = new Outlet(call, own.signal, timeoutMs);
  for await (const answer of answers) {
    const taken = await outlet.write(toWire(method.output, answer));
    if (own.signal.aborted) return;
    own.sent++;
    if (taken) continue;
    // A peer that does not read can be told nothing before what waits for it. What the handler says last is left in that queue.
    own.end('SLOW_CONSUMER');
    for await (const farewell of answers) {
      (call as Writable).write(toWire(method.output, farewell));
      own.sent++;
    }
  }
}

async function* decodeAll(
  method: DescMethod,
  call: Readable,
  own: Call,
  transport: Transport,
): AsyncGenerator<Message> {
  const metered = transport.metered.has(method);
  // A loop that is left would otherwise destroy the call, and with it the status that is still to be sent.
  for await (const bytes of call.iterator({ destroyOnReturn: false })) {
    const ms = metered ? transport.admission.pace(own, bytes.length) : 0;
    yield decode(method.input, bytes, transport);
    // The peer waits by its flow control.
    if (ms > 0) await delay(ms, undefined, { signal: own.signal }).catch(() => {});
  }
}

function decode(schema: DescMessage, bytes: Buffer, transport: Transport): Message {
  let message: Message;
  try {
    message = fromBinary(schema, bytes);
  } catch (cause) {
    throw new StatusError(ErrorReason.MALFORMED_MESSAGE, `not a ${schema.typeName}: ${(cause as Error).message}`);
  }
  transport.validate(schema, message, bytes.length);
  return message;
}

function toWire(schema: DescMessage, answer: object): Buffer | Frame {
  return answer instanceof Frame ? answer : encode(schema, answer);
}

function encode(schema: DescMessage, answer: object): Buffer {
  if (Buffer.isBuffer(answer)) return answer;
  const bytes = toBinary(schema, create(schema, answer as MessageInitShape<DescMessage>));
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}

/** Nothing new begins once the server shuts down. */
export function refuseWhenDraining({ draining }: Transport): void {
  if (draining.aborted) throw shuttingDown();
}

/** What is said of a stream that has to end before all is said. */
export function endedBy(why: WrapUp): StatusError {
  if (why === 'DRAINING') return shuttingDown();
  if (why === 'TOKEN_EXPIRED') return new StatusError(ErrorReason.TOKEN_EXPIRED, 'the token has expired');
  return new StatusError(ErrorReason.DEADLINE_EXCEEDED, 'a message was not taken in time');
}

function shuttingDown(): StatusError {
  return new StatusError(ErrorReason.DRAINING, 'this replica is shutting down', { details: [retryAfter(100)] });
}
