import type { DescService } from '@bufbuild/protobuf';
import { Server, ServerCredentials } from '@grpc/grpc-js';
import { Health } from '../gen/health/v1/health_pb.ts';
import { Admission } from './admission.ts';
import { type Around, bind, type Handlers, type Served, served, type Transport } from './bind.ts';
import type { CallReport } from './call.ts';
import type { Guard } from './guard.ts';
import { ServingState } from './health.ts';
import { reflectionOf } from './reflection.ts';
import { compileRules, messageValidator, type Shortcuts } from './validate.ts';

export type ServerOptions = {
  /** Host and port to listen on; port 0 takes a free one. */
  address: string;
  /** Absent: no TLS. */
  credentials?: ServerCredentials | undefined;
  /** Absent: everybody may call everything. */
  guard?: Guard | undefined;
  maxMessageBytes: number;
  /** HTTP/2's own limit, for calls of any kind on one connection; calls above it wait in silence. */
  maxCallsPerConnection: number;
  /** Streams above these are refused. */
  maxStreams: number;
  maxStreamsPerConnection: number;
  callTimeoutMs: number;
  writeTimeoutMs: number;
  keepaliveMs: number;
  keepaliveTimeoutMs: number;
  maxConnectionAgeMs: number;
  maxConnectionAgeGraceMs: number;
  /** How long calls may go on after the shutdown began. */
  graceMs: number;
  shortcuts?: Shortcuts;
  report: (call: CallReport) => void;
  around?: Around | undefined;
};

export type RunningServer = AsyncDisposable & {
  readonly port: number;
  readonly health: ServingState;
  readonly admission: Admission;
};

/** Serves these services, health and reflection on one port. Disposing drains: streams are told, calls finish, then all is closed. */
export async function startServer(services: Served[], options: ServerOptions): Promise<RunningServer> {
  const described = services.map(([service]) => service);
  const health = new ServingState(described);
  const all = [...services, served(Health, health.handlers()), ...reflectionOf([...described, Health])];
  const draining = new AbortController();
  const transport: Transport = {
    validate: messageValidator(options.shortcuts),
    report: options.report,
    around: options.around,
    admission: new Admission({ streams: options.maxStreams, streamsPerConnection: options.maxStreamsPerConnection }),
    guard: options.guard,
    draining: draining.signal,
    callTimeoutMs: options.callTimeoutMs,
    writeTimeoutMs: options.writeTimeoutMs,
  };
  const server = new Server({
    'grpc.max_receive_message_length': options.maxMessageBytes,
    'grpc.max_concurrent_streams': options.maxCallsPerConnection,
    'grpc.keepalive_time_ms': options.keepaliveMs,
    'grpc.keepalive_timeout_ms': options.keepaliveTimeoutMs,
    'grpc.max_connection_age_ms': options.maxConnectionAgeMs,
    'grpc.max_connection_age_grace_ms': options.maxConnectionAgeGraceMs,
    'grpc.enable_channelz': 0,
  });
  for (const [service, handlers] of all) bind(server, service, handlers as Handlers<DescService>, transport);
  const port = await listen(server, options.address, options.credentials ?? ServerCredentials.createInsecure());
  void compileRules(
    all.flatMap(([service]) => service.methods.map(method => method.input)),
    draining.signal,
  );
  return {
    port,
    health,
    admission: transport.admission,
    async [Symbol.asyncDispose]() {
      health.serving = false;
      draining.abort();
      await within(options.graceMs, transport.admission.idle());
      // Whoever has not taken its last answer by then never will: `tryShutdown` alone would wait for it for ever, and `forceShutdown` does
      // not find the connections when channelz is off.
      server.drain(options.address.replace(/\d+$/, String(port)), FLUSH_MS);
      await new Promise<void>(resolve => server.tryShutdown(() => resolve()));
    },
  };
}

/** What the last answers of finished calls may take to reach their clients. */
const FLUSH_MS = 500;

function listen(server: Server, address: string, credentials: ServerCredentials): Promise<number> {
  return new Promise((resolve, reject) => {
    server.bindAsync(address, credentials, (error, port) => (error ? reject(error) : resolve(port)));
  });
}

async function within(ms: number, work: Promise<void>): Promise<void> {
  const { promise, resolve } = Promise.withResolvers<void>();
  const timer = setTimeout(resolve, ms);
  await Promise.race([work, promise]);
  clearTimeout(timer);
}
