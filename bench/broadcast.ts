// A gRPC server that has nothing to do but to send the same messages to many subscribers: each is encoded once, and each subscriber gets the
// next one when it has taken the one before. A process of its own; whenever SUBSCRIBERS more are there, it sends them MESSAGES of SIZE entries.
import { create, toBinary } from '@bufbuild/protobuf';
import { Server, ServerCredentials, type ServerWritableStream } from '@grpc/grpc-js';
import { LogLevel } from '../src/gen/backup/v1/entry_pb.ts';
import { LogService, TailLogsResponseSchema } from '../src/gen/backup/v1/log_pb.ts';
import { methodDefinition } from '../src/grpc/definition.ts';
import { LINE } from './raw-append.ts';

const [subscribers, messages, size] = ['SUBSCRIBERS', 'MESSAGES', 'SIZE'].map(name => Number(process.env[name]));
let calls: ServerWritableStream<Buffer, Buffer>[] = [];

function message(n: number): Buffer {
  const entries = Array.from({ length: size! }, (_, i) => ({
    id: BigInt(n * size! + i + 1),
    level: LogLevel.INFO,
    message: LINE,
    createTime: { seconds: 1_795_000_000n, nanos: 123_456_000 },
  }));
  return encode({ case: 'entries', value: { backupId: '0'.repeat(32), entries, resumeToken: 'x'.repeat(120) } });
}

function encode(event: object): Buffer {
  return Buffer.from(toBinary(TailLogsResponseSchema, create(TailLogsResponseSchema, { event: event as never })));
}

function sendAll(call: ServerWritableStream<Buffer, Buffer>, encoded: Buffer[]): void {
  let n = 0;
  const next = (): void => {
    if (n === messages || call.cancelled) return;
    encoded[n] ??= message(n);
    call.write(encoded[n++]!, next);
  };
  next();
}

const server = new Server();
server.addService(
  { tailLogs: methodDefinition(LogService.method.tailLogs) },
  {
    tailLogs(call: ServerWritableStream<Buffer, Buffer>) {
      call.on('error', () => {});
      call.write(encode({ case: 'caughtUp', value: {} }));
      if (calls.push(call) < subscribers!) return;
      const encoded: Buffer[] = [];
      for (const each of calls) sendAll(each, encoded);
      calls = [];
    },
  },
);
server.bindAsync('127.0.0.1:0', ServerCredentials.createInsecure(), (error, port) => {
  if (error) throw error;
  console.log(`serves gRPC on 127.0.0.1:${port}`);
});
