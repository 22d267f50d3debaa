import { Client } from '@grpc/grpc-js';
import { ControllerService } from '../gen/backup/v1/controller_pb.ts';
import { CourseService } from '../gen/backup/v1/course_pb.ts';
import { LogService } from '../gen/backup/v1/log_pb.ts';
import { clientCredentials } from '../grpc/credentials.ts';
import { type ServiceClient, serviceClient } from './calls.ts';
import { type IngestOptions, LogWriter } from './ingest/writer.ts';
import { Tail, type TailOptions } from './tail.ts';
import { Watch, type WatchOptions } from './watch.ts';
import { type WorkOptions, work } from './work/work.ts';

/** How to reach the service, and as whom. */
export type ConnectOptions = {
  /**
   * `host:port`, or any target of gRPC: `dns:///backup:50051` for all that the name stands for, `ipv4:10.0.0.1:50051,10.0.0.2:50051` for several
   * replicas. Whichever answers is used, and another one when it no longer does.
   */
  address: string;
  /** `true`, or certificates and the key: PEM, or names of files with it. Absent: no TLS, unless there is a token. */
  tls?: boolean | { ca?: string | undefined; cert?: string | undefined; key?: string | undefined };
  /** A bearer token, or a function that is asked for one at every call, so that it may be renewed. */
  token?: string | (() => string | Promise<string>) | undefined;
  /** The name of a file with the token, which is read at every call. */
  tokenFile?: string | undefined;
  /** For a unary call with all its attempts, unless it says otherwise; else 30 s. */
  timeoutMs?: number;
  /** How often to ask a silent connection for a sign of life, for which it has half as long; else 10 s. */
  keepaliveMs?: number;
};

/** The services, and what goes on over many calls. Closing it ends all of them. */
export type Connection = Disposable & {
  readonly controllers: ServiceClient<typeof ControllerService>;
  readonly courses: ServiceClient<typeof CourseService>;
  readonly logs: ServiceClient<typeof LogService>;
  /** Follows logs, each entry once, whatever breaks. */
  tail(options: TailOptions): Tail;
  /** Writes to a log, each entry once, whatever breaks. */
  ingest(options: IngestOptions): LogWriter;
  /** Follows controllers. */
  watch(options?: WatchOptions): Watch;
  /** Claims runs and works them until it is drained. */
  work(options: WorkOptions): Promise<void>;
  close(): void;
};

/** A connection of its own, opened by the first call. Throws when a certificate or token file cannot be read. */
export function connect(target: string | ConnectOptions): Connection {
  const options = typeof target === 'string' ? { address: target } : target;
  const { timeoutMs = 30_000 } = options;
  const channel = openChannel(options);
  const controllers = serviceClient(ControllerService, channel, { timeoutMs });
  const logs = serviceClient(LogService, channel, { timeoutMs });
  const courses = serviceClient(CourseService, channel, { timeoutMs });
  const ingest = (who: IngestOptions) => new LogWriter(logs, who);
  return {
    controllers,
    courses,
    logs,
    ingest,
    tail: which => new Tail(logs, which),
    watch: which => new Watch(controllers, which ?? {}),
    work: how => work({ controllers, courses, ingest }, how),
    close: () => channel.close(),
    [Symbol.dispose]: () => channel.close(),
  };
}

/** The channel alone, for other services. Throws as `connect` does. */
export function openChannel(options: ConnectOptions): Client {
  const { address, keepaliveMs = 10_000 } = options;
  return new Client(address, credentialsOf(options), {
    // Without this, grpc-js shares one connection among all clients of an address in a process.
    'grpc.use_local_subchannel_pool': 1,
    'grpc.enable_http_proxy': 0,
    'grpc.initial_reconnect_backoff_ms': 100,
    'grpc.max_reconnect_backoff_ms': 2000,
    'grpc.keepalive_time_ms': keepaliveMs,
    'grpc.keepalive_timeout_ms': keepaliveMs / 2,
    'grpc.max_receive_message_length': -1,
  });
}

function credentialsOf({ tls = false, token, tokenFile }: ConnectOptions) {
  const proof = typeof tls === 'object' ? tls : {};
  const bearer = typeof token === 'string' ? () => token : (token ?? tokenFile);
  return clientCredentials({ ...proof, token: bearer }, tls !== false);
}
