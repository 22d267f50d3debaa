import { EventEmitter } from 'node:events';
import {
  create,
  type DescMessage,
  type DescMethod,
  type DescService,
  fromBinary,
  type MessageInitShape,
  type MessageShape,
} from '@bufbuild/protobuf';
import { Metadata } from '@grpc/grpc-js';
import { toStatusError } from '../errors.ts';
import { type Handlers, refuseWhenDraining, type Transport } from './bind.ts';
import { Call } from './call.ts';
import { Frame } from './frame.ts';

/** For whom a call is made in this process. */
export type Origin = {
  /** Address and port of whoever asked for it. */
  peer: string;
  /** Aborted when the answer is no longer wanted. */
  signal: AbortSignal;
  /** Aborted when a stream should say its last words and end. */
  ending: AbortSignal;
};

/** A service as it is called in its own process; without the methods to which a stream is sent. */
export type LocalClient<S extends DescService> = { [K in keyof S['method']]: Method<S['method'][K]> };

type Method<M> =
  M extends Kind<'unary', infer I, infer O>
    ? (request: MessageInitShape<I>, origin: Origin) => Promise<MessageShape<O>>
    : M extends Kind<'server_streaming', infer I, infer O>
      ? (request: MessageInitShape<I>, origin: Origin) => AsyncIterable<MessageShape<O>>
      : never;

type Kind<K, I extends DescMessage, O extends DescMessage> = { methodKind: K; input: I; output: O };

/**
 * Calls handlers as a client would, past the wire and past the guard: whoever calls has to know that he may. Rules, limits, deadlines, drain and reports are
 * those of all calls. What is refused is thrown as a StatusError.
 */
export function localClient<S extends DescService>(
  service: S,
  handlers: Handlers<S>,
  transport: Transport,
): LocalClient<S> {
  const client: Record<string, unknown> = {};
  for (const method of service.methods) {
    const handler: unknown = handlers[method.localName as keyof S['method']];
    if (method.methodKind === 'unary') client[method.localName] = unary(method, handler as Unary, transport);
    if (method.methodKind === 'server_streaming') {
      client[method.localName] = streaming(method, handler as Streaming, transport);
    }
  }
  return client as LocalClient<S>;
}

type Unary = (request: object, context: Call) => Promise<object>;
type Streaming = (request: object, context: Call) => AsyncIterable<object>;

function unary(method: DescMethod, handler: Unary, transport: Transport) {
  return async (init: object, origin: Origin): Promise<object> => {
    using _running = transport.admission.running();
    using own = open(method, origin, transport);
    using _limit = own.call.limit(transport.callTimeoutMs);
    try {
      refuseWhenDraining(transport);
      using _place = transport.admission.call(own.call, 0);
      const request = toRequest(method, init, transport);
      const answer = transport.whileWanted(own.call.signal, () => handler(request, own.call));
      const message = toMessage(method.output, await own.call.unlessAborted(answer));
      own.call.succeeded();
      return message;
    } catch (error) {
      throw own.failed(error);
    }
  };
}

function streaming(method: DescMethod, handler: Streaming, transport: Transport) {
  return async function* (init: object, origin: Origin): AsyncGenerator<object> {
    using _running = transport.admission.running();
    using own = open(method, origin, transport);
    const { call } = own;
    const drain = () => call.end('DRAINING');
    const causes = [transport.draining, origin.ending];
    for (const cause of causes) cause.addEventListener('abort', drain, { once: true });
    if (origin.ending.aborted) drain();
    try {
      refuseWhenDraining(transport);
      using _stream = transport.admission.stream(call);
      for await (const answer of handler(toRequest(method, init, transport), call)) {
        call.sent++;
        yield toMessage(method.output, answer);
      }
      call.signal.throwIfAborted();
      call.succeeded();
    } catch (error) {
      throw own.failed(error);
    } finally {
      own.left();
      for (const cause of causes) cause.removeEventListener('abort', drain);
    }
  };
}

/** A call that nobody has sent; `left` tells of one whose reader has gone, and that has not ended otherwise. */
function open(method: DescMethod, { peer, signal }: Origin, transport: Transport) {
  const arrived = Object.assign(new EventEmitter(), {
    metadata: new Metadata(),
    getPeer: () => peer,
    getDeadline: () => Number.POSITIVE_INFINITY,
  });
  let told = false;
  const report: Transport['report'] = said => {
    told = true;
    transport.report(said);
  };
  const call = new Call(method, arrived, { report, draining: transport.draining });
  const cancel = () => arrived.emit('cancelled');
  signal.addEventListener('abort', cancel, { once: true });
  if (signal.aborted) cancel();
  return {
    call,
    failed(error: unknown) {
      const refusal = toStatusError(call.signal.aborted ? call.signal.reason : error);
      call.failed(refusal);
      return refusal;
    },
    left() {
      if (told) return;
      cancel();
      call.failed(call.signal.reason);
    },
    [Symbol.dispose]: () => signal.removeEventListener('abort', cancel),
  };
}

function toRequest(method: DescMethod, init: object, transport: Transport): object {
  const request = create(method.input, init as MessageInitShape<DescMessage>);
  transport.validate(method.input, request, 0);
  return request;
}

/** Handlers that answer many in bytes that were made once do so here, too. */
function toMessage(schema: DescMessage, answer: object): object {
  const bytes = answer instanceof Frame ? answer.message : answer;
  return bytes instanceof Uint8Array
    ? fromBinary(schema, bytes)
    : create(schema, bytes as MessageInitShape<DescMessage>);
}
