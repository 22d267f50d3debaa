import { strict as assert } from 'node:assert';
import { once } from 'node:events';
import {
  create,
  createFileRegistry,
  type DescService,
  fromBinary,
  getOption,
  type MessageInitShape,
  toBinary,
} from '@bufbuild/protobuf';
import { type FileDescriptorProto, FileDescriptorProtoSchema, FileDescriptorSetSchema } from '@bufbuild/protobuf/wkt';
import { field as fieldRules } from '@bufbuild/protovalidate/gen/buf/validate/validate_pb.js';
import { Client, type ClientDuplexStream, credentials, status } from '@grpc/grpc-js';
import { ControllerService } from '../../src/gen/backup/v1/controller_pb.ts';
import { LogService } from '../../src/gen/backup/v1/log_pb.ts';
import {
  type ServerReflectionResponse,
  ServerReflection as V1,
} from '../../src/gen/grpc/reflection/v1/reflection_pb.ts';
import { ServerReflection as V1Alpha } from '../../src/gen/grpc/reflection/v1alpha/reflection_pb.ts';
import { methodDefinition } from '../../src/grpc/definition.ts';
import { type RunningServer, startServer } from '../../src/grpc/server.ts';
import { eventually } from '../support/eventually.ts';
import { generous } from '../support/toy.ts';

for (const version of [V1, V1Alpha]) {
  describe(`reflection as ${version.typeName}`, () => {
    let server: RunningServer;
    let channel: Client;

    beforeEach(async () => {
      server = await start(ControllerService, LogService);
      channel = new Client(`127.0.0.1:${server.port}`, credentials.createInsecure());
    });
    afterEach(async () => {
      channel.close();
      await server[Symbol.asyncDispose]();
    });

    const ask = (...questions: Question[]) => askOn(open(channel, version), questions);

    it('lists the services, health and itself', async () => {
      const [answer] = await ask({ case: 'listServices', value: '' });
      assert.ok(answer?.case === 'listServicesResponse');
      assert.deepEqual(
        answer.value.service.map(({ name }) => name),
        [
          'backup.v1.ControllerService',
          'backup.v1.LogService',
          'grpc.health.v1.Health',
          'grpc.reflection.v1.ServerReflection',
          'grpc.reflection.v1alpha.ServerReflection',
        ],
      );
    });

    it('answers a file with all that it imports, as it was compiled', async () => {
      const [answer] = await ask({ case: 'fileByFilename', value: 'backup/v1/log.proto' });
      const file = descriptors(answer);
      assert.deepEqual(file.map(({ name }) => name).toSorted(), [
        'backup/v1/controller.proto',
        'backup/v1/entry.proto',
        'backup/v1/error.proto',
        'backup/v1/log.proto',
        'backup/v1/schedule.proto',
        'backup/v1/scope.proto',
        'backup/v1/window.proto',
        'buf/validate/validate.proto',
        'google/protobuf/descriptor.proto',
        'google/protobuf/duration.proto',
        'google/protobuf/field_mask.proto',
        'google/protobuf/timestamp.proto',
        'google/rpc/code.proto',
      ]);
      const registry = createFileRegistry(create(FileDescriptorSetSchema, { file: importsFirst(file) }));
      assert.deepEqual(
        registry.getService('backup.v1.LogService')?.methods.map(({ name }) => name),
        LogService.methods.map(({ name }) => name),
      );
      const backupId = registry.getMessage('backup.v1.ListLogsRequest')!.field['backupId']!;
      const rules = getOption(backupId, fieldRules).type;
      assert.ok(rules.case === 'string');
      assert.equal(rules.value.pattern, '^[0-9a-f]{32}$');
    });

    for (const [symbol, file] of [
      ['backup.v1.LogService', 'backup/v1/log.proto'],
      ['backup.v1.LogService.TailLogs', 'backup/v1/log.proto'],
      ['backup.v1.TailEnd', 'backup/v1/log.proto'],
      ['backup.v1.TailEnd.backup_id', 'backup/v1/log.proto'],
      ['backup.v1.TailEnd.Reason', 'backup/v1/log.proto'],
      ['backup.v1.TailEnd.REASON_SEALED', 'backup/v1/log.proto'],
      ['backup.v1.TailLogsRequest.start', 'backup/v1/log.proto'],
      ['backup.v1.Status', 'backup/v1/controller.proto'],
      ['backup.v1.STATUS_EXECUTING', 'backup/v1/controller.proto'],
      ['buf.validate.field', 'buf/validate/validate.proto'],
      ['buf.validate.StringRules.pattern', 'buf/validate/validate.proto'],
      ['google.protobuf.FieldDescriptorProto.Type', 'google/protobuf/descriptor.proto'],
      ['google.rpc.BadRequest.FieldViolation', 'google/rpc/error_details.proto'],
      ['google.rpc.Status', 'google/rpc/status.proto'],
      ['grpc.health.v1.Health.Watch', 'health/v1/health.proto'],
      ['grpc.reflection.v1.ServerReflection', 'grpc/reflection/v1/reflection.proto'],
      ['grpc.reflection.v1alpha.ServerReflection', 'grpc/reflection/v1alpha/reflection.proto'],
    ] as const) {
      it(`finds ${symbol}`, async () => {
        const [answer] = await ask({ case: 'fileContainingSymbol', value: symbol });
        assert.equal(descriptors(answer)[0]?.name, file);
      });
    }

    it('finds an extension by its number', async () => {
      const [answer] = await ask(extension('google.protobuf.FieldOptions', 1159));
      assert.equal(descriptors(answer)[0]?.name, 'buf/validate/validate.proto');
    });

    it('lists the numbers of the extensions of a message', async () => {
      const [extended, plain] = await ask(
        { case: 'allExtensionNumbersOfType', value: 'google.protobuf.FieldOptions' },
        { case: 'allExtensionNumbersOfType', value: 'backup.v1.Controller' },
      );
      assert.ok(extended?.case === 'allExtensionNumbersResponse' && plain?.case === 'allExtensionNumbersResponse');
      assert.equal(extended.value.baseTypeName, 'google.protobuf.FieldOptions');
      assert.deepEqual(extended.value.extensionNumber, [1159, 1160]);
      assert.deepEqual(plain.value.extensionNumber, []);
    });

    it('says what it does not find, and goes on', async () => {
      const answers = await ask(
        { case: 'fileByFilename', value: 'backup/v2/log.proto' },
        { case: 'fileContainingSymbol', value: 'backup.v1.Nobody' },
        extension('google.protobuf.FieldOptions', 1),
        { case: 'allExtensionNumbersOfType', value: 'backup.v1.LogService' },
        { case: undefined },
        { case: 'listServices', value: '' },
      );
      assert.deepEqual(answers.map(refusal), [
        [status.NOT_FOUND, 'there is no file backup/v2/log.proto here'],
        [status.NOT_FOUND, 'there is no symbol backup.v1.Nobody here'],
        [status.NOT_FOUND, 'there is no extension 1 of google.protobuf.FieldOptions here'],
        [status.NOT_FOUND, 'there is no message backup.v1.LogService here'],
        [status.INVALID_ARGUMENT, 'the request asks nothing that is known here'],
        undefined,
      ]);
    });

    it('repeats the question with its answer', async () => {
      const call = open(channel, version);
      call.end(encode({ case: 'fileByFilename', value: 'backup/v1/window.proto' }));
      const [response] = (await call.toArray()).map(decode);
      assert.equal(response?.validHost, 'here');
      assert.equal(response?.originalRequest?.host, 'here');
      assert.deepEqual(response?.originalRequest?.messageRequest, {
        case: 'fileByFilename',
        value: 'backup/v1/window.proto',
      });
    });

    it('refuses what is not a request', async () => {
      const call = open(channel, version);
      call.end(Buffer.from([0xff]));
      await assert.rejects(call.toArray(), { code: status.INVALID_ARGUMENT });
    });

    it('ends with a client that cancels', async () => {
      const call = open(channel, version);
      await once(call, 'metadata');
      assert.equal(server.admission.streams, 1);
      call.cancel();
      await assert.rejects(call.toArray(), { code: status.CANCELLED });
      await eventually(() => assert.equal(server.admission.streams, 0));
    });

    it('does not hold up a shutdown by streams that nobody ends', async () => {
      const silent = open(channel, version);
      const answered = open(channel, version);
      const ended = [silent, answered].map(async call => (await once(call, 'status'))[0].code);
      await once(silent.resume(), 'metadata');
      answered.write(encode({ case: 'listServices', value: '' }));
      await once(answered, 'data');
      // Much sooner than its grace period, or the test runs out of time.
      await server[Symbol.asyncDispose]();
      assert.deepEqual(await Promise.all(ended), [status.OK, status.OK]);
      assert.equal(server.admission.streams, 0);
    });
  });
}

type Version = typeof V1 | typeof V1Alpha;
type Answer = ServerReflectionResponse['messageResponse'];
type Question = NonNullable<MessageInitShape<typeof V1.method.serverReflectionInfo.input>['messageRequest']>;

async function askOn(call: ClientDuplexStream<Buffer, Buffer>, questions: Question[]): Promise<Answer[]> {
  for (const question of questions) call.write(encode(question));
  call.end();
  return (await call.toArray()).map(bytes => decode(bytes).messageResponse);
}

function open(channel: Client, { method }: Version): ClientDuplexStream<Buffer, Buffer> {
  const { path, requestSerialize, responseDeserialize } = methodDefinition(method.serverReflectionInfo);
  return channel.makeBidiStreamRequest(path, requestSerialize, responseDeserialize);
}

// Both versions look the same on the wire.
const { input, output } = V1.method.serverReflectionInfo;

function encode(messageRequest: Question): Buffer {
  return Buffer.from(toBinary(input, create(input, { host: 'here', messageRequest })));
}

function decode(bytes: Buffer): ServerReflectionResponse {
  return fromBinary(output, bytes);
}

function extension(containingType: string, extensionNumber: number): Question {
  return { case: 'fileContainingExtension', value: { containingType, extensionNumber } };
}

function descriptors(answer: Answer | undefined) {
  assert.ok(answer?.case === 'fileDescriptorResponse', `answered ${answer?.case}`);
  return answer.value.fileDescriptorProto.map(bytes => fromBinary(FileDescriptorProtoSchema, bytes));
}

function refusal(answer: Answer): [code: number, message: string] | undefined {
  return answer.case === 'errorResponse' ? [answer.value.errorCode, answer.value.errorMessage] : undefined;
}

/** Serves services whose handlers nobody calls. */
function start(...services: DescService[]): Promise<RunningServer> {
  return startServer(
    services.map(service => [service, {}]),
    {
      address: '127.0.0.1:0',
      maxMessageBytes: 1024 * 1024,
      maxConnections: 100,
      limits: generous,
      callTimeoutMs: 10_000,
      writeTimeoutMs: 10_000,
      keepaliveMs: 60_000,
      keepaliveTimeoutMs: 60_000,
      maxConnectionAgeMs: 60_000,
      maxConnectionAgeGraceMs: 60_000,
      delayMs: 0,
      graceMs: 60_000,
      report: () => {},
    },
  );
}

/** Files behind those that they import, which a registry wants. */
function importsFirst(files: FileDescriptorProto[]): FileDescriptorProto[] {
  const sorted = new Set<FileDescriptorProto>();
  const visit = (file: FileDescriptorProto) => {
    for (const name of file.dependency) visit(files.find(imported => imported.name === name)!);
    sorted.add(file);
  };
  files.forEach(visit);
  return [...sorted];
}
