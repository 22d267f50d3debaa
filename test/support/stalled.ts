import { once } from 'node:events';
import { type ClientHttp2Session, connect as http2Connect } from 'node:http2';
import { create, toBinary } from '@bufbuild/protobuf';
import { LogService, TailLogsRequestSchema } from '../../src/gen/backup/v1/log_pb.ts';
import { methodDefinition } from '../../src/grpc/definition.ts';

/** A peer that takes nothing at all but what HTTP/2 lets through before the first read: 64 KiB. */
export async function stall(address: string, backupId: string): Promise<ClientHttp2Session> {
  const session = http2Connect(`http://${address}`);
  session.on('error', () => {});
  const stream = session.request({
    ':method': 'POST',
    ':path': methodDefinition(LogService.method.tailLogs).path,
    'content-type': 'application/grpc',
    te: 'trailers',
  });
  stream.on('error', () => {});
  const message = tailRequest(backupId);
  const prefix = Buffer.alloc(5);
  prefix.writeUInt32BE(message.length, 1);
  stream.end(Buffer.concat([prefix, message]));
  await once(stream, 'response');
  return session;
}

/** TailLogs of a backup, following. */
export function tailRequest(backupId: string): Buffer {
  return Buffer.from(
    toBinary(TailLogsRequestSchema, create(TailLogsRequestSchema, { backupIds: [backupId], follow: true })),
  );
}
