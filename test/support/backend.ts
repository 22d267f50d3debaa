import { Client, credentials } from '@grpc/grpc-js';
import { pino } from 'pino';
import { type App, startApp } from '../../src/app.ts';
import { loadConfig } from '../../src/config.ts';
import { ControllerService } from '../../src/gen/backup/v1/controller_pb.ts';
import { CourseService } from '../../src/gen/backup/v1/course_pb.ts';
import { LogService } from '../../src/gen/backup/v1/log_pb.ts';
import { ReplicaService } from '../../src/gen/backup/v1/replica_pb.ts';
import { Health } from '../../src/gen/health/v1/health_pb.ts';
import { createClient, type TypedClient } from '../../src/grpc/client.ts';
import { createDatabase, type Database, engine } from './database.ts';

/** One running service and clients for it, over the wire. */
export type Replica = AsyncDisposable & {
  readonly app: App;
  readonly address: string;
  readonly channel: Client;
  readonly controllers: TypedClient<typeof ControllerService>;
  readonly courses: TypedClient<typeof CourseService>;
  readonly logs: TypedClient<typeof LogService>;
  readonly replica: TypedClient<typeof ReplicaService>;
  readonly health: TypedClient<typeof Health>;
};

/** Replicas on a database of their own; the first one's clients are the backend's. */
export type Backend = Replica & { readonly replicas: Replica[]; readonly database: Database };

/** Whether this run of the suite does without NOTIFY, so that everybody only polls, and without SKIP LOCKED. */
export const acceleratorsOff = process.env['ACCELERATORS'] === 'off';

/** Settings that the tests run with besides the defaults. */
const testSettings = {
  LISTEN: '127.0.0.1:0',
  SERVICE_LOG: 'silent',
  SHUTDOWN_GRACE: '2s',
  // More is asked at once than a machine that is slow, and shared by tests, answers in 3 s.
  DATABASE_CONNECT_TIMEOUT: '10s',
  // Nor does it do in 30 s what a test does while it holds a lease.
  LEASE_DURATION: '10m',
  ENGINE: engine,
  RETENTION: 'off',
  RETENTION_SETTING_UI: 'off',
  ...(acceleratorsOff && { NOTIFY: 'off', TAIL_POLL: '20ms', SKIP_LOCKED: 'off' }),
};

/** Starts real replicas on a new database. */
export async function startBackend({
  replicas = 1,
  settings = {},
}: {
  replicas?: number;
  settings?: Record<string, string>;
} = {}): Promise<Backend> {
  await using starting = new AsyncDisposableStack();
  const database = starting.use(await createDatabase());
  const started: Replica[] = [];
  for (let i = 0; i < replicas; i++) started.push(starting.use(await startReplica(database.url, settings)));
  const open = starting.move();
  return { ...started[0]!, replicas: started, database, [Symbol.asyncDispose]: () => open.disposeAsync() };
}

/** Starts one more replica on a database. Disposing it twice does nothing more. */
export async function startReplica(
  databaseUrl: string,
  settings: Record<string, string> = {},
  log = pino({ level: process.env['TEST_SERVICE_LOG'] ?? 'silent' }),
): Promise<Replica> {
  const config = loadConfig({ ...testSettings, ...through(databaseUrl), ...settings });
  const app = await startApp(config, log);
  const address = `127.0.0.1:${app.port}`;
  const channel = connect(address);
  let closing: Promise<void> | undefined;
  const close = async () => {
    await app[Symbol.asyncDispose]();
    channel.close();
  };
  return { app, address, channel, ...clients(channel), [Symbol.asyncDispose]: () => (closing ??= close()) };
}

/** The address of a database, or those by way of the pooler of the run. */
function through(databaseUrl: string): Record<string, string> {
  const pooler = process.env['TEST_POOLER_URL'];
  if (!pooler) return { DATABASE_URL: databaseUrl };
  return {
    DATABASE_URL: Object.assign(new URL(databaseUrl), { port: new URL(pooler).port }).href,
    DATABASE_DIRECT_URL: databaseUrl,
  };
}

/** A channel with a connection of its own; close it. */
export function connect(address: string, how = credentials.createInsecure()): Client {
  return new Client(address, how, {
    'grpc.use_local_subchannel_pool': 1,
    'grpc.max_receive_message_length': -1,
  });
}

export function clients(channel: Client) {
  return {
    controllers: createClient(ControllerService, channel),
    courses: createClient(CourseService, channel),
    logs: createClient(LogService, channel),
    replica: createClient(ReplicaService, channel),
    health: createClient(Health, channel),
  };
}
