import type { DescMethod, DescService } from '@bufbuild/protobuf';
import type { MethodDefinition, ServiceDefinition } from '@grpc/grpc-js';
import { Frame } from './frame.ts';

/** A generated service as grpc-js wants it, but with bytes for messages: encoding is left to whoever binds it. */
export function serviceDefinition(service: DescService): ServiceDefinition {
  return Object.fromEntries(service.methods.map(method => [method.localName, methodDefinition(method)]));
}

export function methodDefinition(method: DescMethod): MethodDefinition<Buffer, Buffer> {
  return {
    path: `/${methodName(method)}`,
    originalName: method.localName,
    requestStream: method.methodKind === 'client_streaming' || method.methodKind === 'bidi_streaming',
    responseStream: method.methodKind === 'server_streaming' || method.methodKind === 'bidi_streaming',
    requestSerialize: same,
    requestDeserialize: same,
    responseSerialize: unframed,
    responseDeserialize: same,
  };
}

export function methodName(method: DescMethod): string {
  return `${method.parent.typeName}/${method.name}`;
}

const same = (bytes: Buffer): Buffer => bytes;

const unframed = (message: Buffer | Frame): Buffer => (message instanceof Frame ? message.message : message);
