import {
  createRegistry,
  type DescEnum,
  type DescExtension,
  type DescFile,
  type DescMessage,
  type DescService,
  type MessageInitShape,
  toBinary,
} from '@bufbuild/protobuf';
import { FileDescriptorProtoSchema } from '@bufbuild/protobuf/wkt';
import { Code } from '../gen/google/rpc/code_pb.ts';
import { file_google_rpc_error_details } from '../gen/google/rpc/error_details_pb.ts';
import { file_google_rpc_status } from '../gen/google/rpc/status_pb.ts';
import {
  type ServerReflectionRequest,
  type ServerReflectionResponseSchema,
  ServerReflection as V1,
} from '../gen/grpc/reflection/v1/reflection_pb.ts';
import { ServerReflection as V1Alpha } from '../gen/grpc/reflection/v1alpha/reflection_pb.ts';
import { endedBy, type Handlers, type Served, served } from './bind.ts';

/**
 * Server reflection over these services and itself, in both of its versions: clients such as grpcurl need no `.proto` files. It answers
 * with the descriptors as they were compiled; `@grpc/reflection` rebuilds them, loses imports on the way, and `buf curl` refuses them.
 */
export function reflectionOf(services: readonly DescService[]): Served[] {
  const answer = answers([...services, V1, V1Alpha]);
  const handlers: Handlers<typeof V1> = {
    async *serverReflectionInfo(requests, { wrapUp }) {
      for await (const request of until(wrapUp, requests)) {
        yield { validHost: request.host, originalRequest: request, messageResponse: answer(request.messageRequest) };
      }
      if (wrapUp.reason === 'TOKEN_EXPIRED') throw endedBy('TOKEN_EXPIRED');
    },
  };
  // The messages of both versions differ by their package only.
  return [served(V1, handlers), [V1Alpha, handlers]];
}

type Question = ServerReflectionRequest['messageRequest'];
type Answer = NonNullable<MessageInitShape<typeof ServerReflectionResponseSchema>['messageResponse']>;

function answers(services: readonly DescService[]): (question: Question) => Answer {
  const files = withImports([...services.map(service => service.file), ...ERROR_FILES]);
  const types = createRegistry(...files);
  const byName = new Map(files.map(file => [file.proto.name, file]));
  const bySymbol = new Map([...types].flatMap(type => symbols(type).map(symbol => [symbol, type.file])));
  const extensions = [...types].filter(type => type.kind === 'extension');

  return question => {
    switch (question.case) {
      case 'listServices':
        return { case: 'listServicesResponse', value: { service: services.map(({ typeName: name }) => ({ name })) } };
      case 'fileByFilename':
        return descriptors(byName.get(question.value), `file ${question.value}`);
      case 'fileContainingSymbol':
        return descriptors(bySymbol.get(question.value), `symbol ${question.value}`);
      case 'fileContainingExtension': {
        const { containingType, extensionNumber } = question.value;
        const found = extensions.find(e => e.extendee.typeName === containingType && e.number === extensionNumber);
        return descriptors(found?.file, `extension ${extensionNumber} of ${containingType}`);
      }
      case 'allExtensionNumbersOfType': {
        const baseTypeName = question.value;
        if (!types.getMessage(baseTypeName)) return notFound(`message ${baseTypeName}`);
        const extensionNumber = extensions.filter(e => e.extendee.typeName === baseTypeName).map(e => e.number);
        return { case: 'allExtensionNumbersResponse', value: { baseTypeName, extensionNumber } };
      }
      default:
        return refusal(Code.INVALID_ARGUMENT, 'the request asks nothing that is known here');
    }
  };
}

/** What errors carry. No service imports it, and clients want to read it. */
const ERROR_FILES = [file_google_rpc_error_details, file_google_rpc_status];

/** The file that was asked for comes first: some clients rely on it. */
function descriptors(file: DescFile | undefined, what: string): Answer {
  if (!file) return notFound(what);
  const fileDescriptorProto = withImports([file]).map(({ proto }) => toBinary(FileDescriptorProtoSchema, proto));
  return { case: 'fileDescriptorResponse', value: { fileDescriptorProto } };
}

function notFound(what: string): Answer {
  return refusal(Code.NOT_FOUND, `there is no ${what} here`);
}

function refusal(errorCode: Code, errorMessage: string): Answer {
  return { case: 'errorResponse', value: { errorCode, errorMessage } };
}

function withImports(files: readonly DescFile[]): DescFile[] {
  const all = new Set<DescFile>(files);
  // A set is walked through to what is added on the way.
  for (const file of all) for (const dependency of file.dependencies) all.add(dependency);
  return [...all];
}

/** The full names of a type and of what has a name within it. */
function symbols(type: DescMessage | DescEnum | DescExtension | DescService): string[] {
  const { typeName } = type;
  switch (type.kind) {
    case 'message':
      return [typeName, ...[...type.fields, ...type.oneofs].map(({ name }) => `${typeName}.${name}`)];
    case 'service':
      return [typeName, ...type.methods.map(({ name }) => `${typeName}.${name}`)];
    case 'enum': {
      // The values of an enum are its siblings.
      const scope = typeName.slice(0, -type.name.length);
      return [typeName, ...type.values.map(({ name }) => scope + name)];
    }
    case 'extension':
      return [typeName];
  }
}

/** The items until `signal` is aborted: a loop over the items alone would wait for a client that keeps silent. */
async function* until<T>(signal: AbortSignal, items: AsyncIterable<T>): AsyncGenerator<T> {
  // It is not told to return: it could not before its next item comes.
  const iterator = items[Symbol.asyncIterator]();
  while (!signal.aborted) {
    const { promise: aborted, resolve: abort } = Promise.withResolvers<undefined>();
    const listener = () => abort(undefined);
    signal.addEventListener('abort', listener, { once: true });
    try {
      const next = await Promise.race([iterator.next(), aborted]);
      if (!next || next.done) return;
      yield next.value;
    } finally {
      signal.removeEventListener('abort', listener);
    }
  }
}
