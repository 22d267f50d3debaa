// A gRPC server that has nothing to do but to send the same messages to many subscribers: each is encoded once, and each subscriber gets the
// next one when it has taken the one before. A process of its own; whenever SUBSCRIBERS more are there, it sends them MESSAGES: of SIZE entries to
// those of TailLogs, of TOGETHER (1) of SIZE controllers in turn to those of WatchControllers, of SIZE bytes to those of DownloadPayload.
import { create, type DescMessage, type DescMethod, type MessageInitShape, toBinary } from '@bufbuild/protobuf';
import { Server, ServerCredentials, type ServerWritableStream } from '@grpc/grpc-js';
import {
  type ControllerSchema,
  ControllerService,
  DownloadPayloadResponseSchema,
  WatchControllersResponseSchema,
} from '../src/gen/backup/v1/controller_pb.ts';
import { LogLevel } from '../src/gen/backup/v1/entry_pb.ts';
import { LogService, TailLogsResponseSchema } from '../src/gen/backup/v1/log_pb.ts';
import { methodDefinition } from '../src/grpc/definition.ts';
import { LINE } from './raw-append.ts';

const [subscribers = 0, messages = 0, size = 0] = ['SUBSCRIBERS', 'MESSAGES', 'SIZE'].map(name =>
  Number(process.env[name]),
);
const together = Number(process.env['TOGETHER'] ?? 1);
const TOKEN = 'x'.repeat(120);
const createTime = { seconds: 1_795_000_000n, nanos: 123_456_000 };
const server = new Server();

broadcast<typeof TailLogsResponseSchema>(
  LogService.method.tailLogs,
  TailLogsResponseSchema,
  { event: { case: 'caughtUp', value: { resumeToken: TOKEN } } },
  n => {
    const entries = Array.from({ length: size }, (_, i) => ({
      id: BigInt(n * size + i + 1),
      level: LogLevel.INFO,
      message: LINE,
      createTime,
    }));
    return { event: { case: 'entries', value: { backupId: '0'.repeat(32), entries, resumeToken: TOKEN } } };
  },
);

broadcast<typeof WatchControllersResponseSchema>(
  ControllerService.method.watchControllers,
  WatchControllersResponseSchema,
  { reset: true, resumeToken: TOKEN },
  n => ({ controllers: Array.from({ length: together }, (_, i) => update(n * together + i)), resumeToken: TOKEN }),
);

// Always the same one: a payload of them would be as large as what is measured.
const chunk = encode(DownloadPayloadResponseSchema, { part: { case: 'chunk', value: Buffer.alloc(size, 'x') } });
broadcast<typeof DownloadPayloadResponseSchema>(
  ControllerService.method.downloadPayload,
  DownloadPayloadResponseSchema,
  { part: { case: 'start', value: { size: BigInt(size) } } },
  n => (n < messages - 1 ? chunk : { part: { case: 'finish', value: { checksum: '0'.repeat(32) } } }),
);

server.bindAsync('127.0.0.1:0', ServerCredentials.createInsecure(), (error, port) => {
  if (error) throw error;
  console.log(`serves gRPC on 127.0.0.1:${port}`);
});

function update(n: number): MessageInitShape<typeof ControllerSchema> {
  return {
    id: BigInt(n % size),
    backupId: String(n % size).padStart(32, '0'),
    operation: 1,
    type: 3,
    itemId: 5_000n,
    format: 'moodle2',
    purpose: 70,
    userId: 1n,
    status: 800,
    execution: 2,
    progress: Math.ceil((n + 1) / size) / Math.ceil((messages * together) / size),
    createTime,
    updateTime: createTime,
    etag: '5000.1',
    lease: { worker: 'bench', acquireTime: createTime, expireTime: createTime },
    attempt: 1,
    maxAttempts: 1,
  };
}

type Call = ServerWritableStream<Buffer, Buffer>;

function broadcast<O extends DescMessage>(
  method: DescMethod,
  schema: O,
  first: MessageInitShape<O>,
  message: (n: number) => MessageInitShape<O> | Buffer,
): void {
  let calls: Call[] = [];
  const subscribe = (call: Call) => {
    call.on('error', () => {});
    call.write(encode(schema, first));
    if (calls.push(call) < subscribers) return;
    const encoded: Buffer[] = [];
    for (const each of calls) {
      sendAll(each, n => {
        encoded[n] ??= encode(schema, message(n));
        return encoded[n];
      });
    }
    calls = [];
  };
  server.addService({ [method.localName]: methodDefinition(method) }, { [method.localName]: subscribe });
}

function encode<O extends DescMessage>(schema: O, message: MessageInitShape<O> | Buffer): Buffer {
  return Buffer.isBuffer(message) ? message : Buffer.from(toBinary(schema, create(schema, message)));
}

function sendAll(call: Call, message: (n: number) => Buffer): void {
  let n = 0;
  const next = () => {
    if (n < messages && !call.cancelled) call.write(message(n++), next);
  };
  next();
}
