// What the package offers. Messages of all kinds are below `backup/v1`.
export { Execution, Operation, Outcome, Purpose, Status, Type } from '../gen/backup/v1/controller_pb.ts';
export { CourseStatus } from '../gen/backup/v1/course_pb.ts';
export { LogLevel } from '../gen/backup/v1/entry_pb.ts';
export { ErrorReason } from '../gen/backup/v1/error_pb.ts';
export { TailEnd_Reason } from '../gen/backup/v1/log_pb.ts';
export type { CallOptions, ServiceClient } from './calls.ts';
export { type Connection, type ConnectOptions, connect } from './connect.ts';
export { type Reason, RpcError } from './error.ts';
export { type IngestOptions, LogWriter } from './ingest/writer.ts';
export type { Interruption, ReconnectOptions } from './reconnect.ts';
export type { TailOptions, TailStart } from './tail.ts';
export { Tail } from './tail.ts';
export type { TailEvent } from './tail-position.ts';
export { type Change, Watch, type WatchOptions } from './watch.ts';
