// A gRPC server that answers at once, with the messages of AppendLogs: what grpc-js and protobuf-es can do without a service behind them.
// A process of its own: `node bench/echo.ts` prints its address.
import { create, fromBinary, toBinary } from '@bufbuild/protobuf';
import { Server, ServerCredentials } from '@grpc/grpc-js';
import { AppendLogsRequestSchema, AppendLogsResponseSchema, LogService } from '../src/gen/backup/v1/log_pb.ts';

const server = new Server();
const { appendLogs } = LogService.method;
server.addService(
  {
    appendLogs: {
      path: `/${LogService.typeName}/${appendLogs.name}`,
      requestStream: false,
      responseStream: false,
      requestDeserialize: (bytes: Buffer) => fromBinary(AppendLogsRequestSchema, bytes),
      requestSerialize: (bytes: Buffer) => bytes,
      responseSerialize: (count: number) =>
        Buffer.from(
          toBinary(AppendLogsResponseSchema, create(AppendLogsResponseSchema, { firstId: 1n, lastId: BigInt(count) })),
        ),
      responseDeserialize: (bytes: Buffer) => bytes,
    },
  },
  {
    appendLogs: (call: { request: { entries: unknown[] } }, callback: (error: null, count: number) => void) =>
      callback(null, call.request.entries.length),
  },
);
server.bindAsync('127.0.0.1:0', ServerCredentials.createInsecure(), (error, port) => {
  if (error) throw error;
  console.log(`serves gRPC on 127.0.0.1:${port}`);
});
