// A gRPC server that answers at once, with the messages of the service: what grpc-js and protobuf-es can do with nothing behind them. A process
// of its own: `node bench/echo.ts` prints its address.
import {
  create,
  type DescMethod,
  fromBinary,
  type MessageInitShape,
  type MessageShape,
  toBinary,
} from '@bufbuild/protobuf';
import { Server, ServerCredentials, type UntypedServiceImplementation } from '@grpc/grpc-js';
import { ControllerSchema, ControllerService } from '../src/gen/backup/v1/controller_pb.ts';
import { LogService } from '../src/gen/backup/v1/log_pb.ts';

const server = new Server();

/** Makes a message for every answer, as the service does. */
function answer<M extends DescMethod>(
  method: M,
  init: (request: MessageShape<M['input']>) => MessageInitShape<M['output']>,
): void {
  const definition = {
    path: `/${method.parent.typeName}/${method.name}`,
    requestStream: false,
    responseStream: false,
    requestDeserialize: (bytes: Buffer) => fromBinary(method.input, bytes),
    requestSerialize: (bytes: Buffer) => bytes,
    responseSerialize: (bytes: Buffer) => bytes,
    responseDeserialize: (bytes: Buffer) => bytes,
  };
  const handler = (
    { request }: { request: MessageShape<M['input']> },
    callback: (error: null, bytes: Buffer) => void,
  ) => callback(null, Buffer.from(toBinary(method.output, create(method.output, init(request)))));
  const implementation: UntypedServiceImplementation = { [method.localName]: handler };
  server.addService({ [method.localName]: definition }, implementation);
}

answer(LogService.method.appendLogs, ({ entries }) => ({ firstId: 1n, lastId: BigInt(entries.length) }));
answer(ControllerService.method.getController, () => ({
  controller: create(ControllerSchema, {
    id: 5_000n,
    backupId: '0123456789abcdef0123456789abcdef',
    operation: 1,
    type: 3,
    itemId: 5_000n,
    format: 'moodle2',
    purpose: 70,
    userId: 1n,
    status: 700,
    execution: 2,
    createTime: { seconds: 1_795_000_000n },
    updateTime: { seconds: 1_795_000_000n },
    etag: '5000.1',
    maxAttempts: 1,
  }),
}));

answer(ControllerService.method.reportProgress, ({ reports }) => ({
  results: reports.map(({ backupId, progress = 0 }) => ({
    backupId,
    progress,
    leaseExpireTime: { seconds: 1_795_000_000n, nanos: 0 },
  })),
}));

server.bindAsync('127.0.0.1:0', ServerCredentials.createInsecure(), (error, port) => {
  if (error) throw error;
  console.log(`serves gRPC on 127.0.0.1:${port}`);
});
