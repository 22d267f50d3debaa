import { setTimeout as delay } from 'node:timers/promises';
import type { DescMethod, DescService } from '@bufbuild/protobuf';
import { Server, ServerCredentials } from '@grpc/grpc-js';
import { Health } from '../gen/health/v1/health_pb.ts';
import { Admission, type AdmissionLimits } from './admission.ts';
import { type Around, bind, type Handlers, type Served, served, type Transport } from './bind.ts';
import type { CallReport } from './call.ts';
import { methodDefinition } from './definition.ts';
import { fortify } from './fortify.ts';
import type { Guard } from './guard.ts';
import { ServingState } from './health.ts';
import { type LocalClient, localClient } from './local.ts';
import { reflectionOf } from './reflection.ts';
import { explainRefusals, refusalOfPart } from './refusals.ts';
import { compileRules, messageValidator, type Shortcuts } from './validate.ts';

export type ServerOptions = {
  /** Host and port to listen on; port 0 takes a free one. */
  address: string;
  /** Absent: no TLS. */
  credentials?: ServerCredentials | undefined;
  /** Absent: everybody may call everything. */
  guard?: Guard | undefined;
  maxMessageBytes: number;
  /** Connections above these are closed at once. */
  maxConnections: number;
  limits: AdmissionLimits;
  /** Methods whose requests count as bytes that somebody sends. */
  metered?: readonly DescMethod[];
  /** Runs a handler whose statements nobody needs any more once the signal is aborted. */
  whileWanted?<T>(signal: AbortSignal, work: () => T): T;
  callTimeoutMs: number;
  writeTimeoutMs: number;
  keepaliveMs: number;
  keepaliveTimeoutMs: number;
  maxConnectionAgeMs: number;
  maxConnectionAgeGraceMs: number;
  /** How long a shutdown only says that it will come, so that nobody sends new calls when it does. */
  delayMs: number;
  /** How long calls may go on then. */
  graceMs: number;
  shortcuts?: Shortcuts;
  report: (call: CallReport) => void;
  around?: Around | undefined;
};

export type RunningServer = AsyncDisposable & {
  readonly port: number;
  readonly health: ServingState;
  readonly admission: Admission;
  /** Calls one of the services in this process. */
  local<S extends DescService>(service: S): LocalClient<S>;
};

/** Serves these services, health and reflection on one port. Disposing drains: streams are told, calls finish, then all is closed. */
export async function startServer(services: Served[], options: ServerOptions): Promise<RunningServer> {
  const described = services.map(([service]) => service);
  const health = new ServingState(described);
  const all = [...services, served(Health, health.handlers()), ...reflectionOf([...described, Health])];
  const draining = new AbortController();
  const admission = new Admission(options.limits);
  const transport: Transport = {
    validate: messageValidator(options.shortcuts),
    report: call => {
      if (call.limit) admission.count(call.limit);
      options.report(call);
    },
    around: options.around,
    admission,
    guard: options.guard,
    metered: new Set(options.metered),
    whileWanted: options.whileWanted ?? ((_, work) => work()),
    draining: draining.signal,
    callTimeoutMs: options.callTimeoutMs,
    writeTimeoutMs: options.writeTimeoutMs,
  };
  explainRefusals();
  const server = new Server({
    'grpc.max_receive_message_length': options.maxMessageBytes,
    // Well above the limits that refuse: calls above this one wait in silence.
    'grpc.max_concurrent_streams': 2 * (options.limits.callsPerConnection + options.limits.streamsPerConnection),
    'grpc.keepalive_time_ms': options.keepaliveMs,
    'grpc.keepalive_timeout_ms': options.keepaliveTimeoutMs,
    'grpc.max_connection_age_ms': options.maxConnectionAgeMs,
    'grpc.max_connection_age_grace_ms': options.maxConnectionAgeGraceMs,
    'grpc.enable_channelz': 0,
  });
  for (const [service, handlers] of all) bind(server, service, handlers as Handlers<DescService>, transport);
  const port = await listen(server, options.address, options.credentials ?? ServerCredentials.createInsecure());
  const fortified = fortify(server, {
    maxConnections: options.maxConnections,
    requestMs: options.writeTimeoutMs,
    partBytes: options.limits.requestBytes,
    single: new Set(all.flatMap(([service]) => singles(service))),
    refusal: why => {
      if (why === 'full') admission.count({ limit: 'request bytes', of: 'replica' });
      return refusalOfPart(why, options.limits.requestBytes);
    },
  });
  void compileRules(
    all.flatMap(([service]) => service.methods.map(method => method.input)),
    draining.signal,
  );
  return {
    port,
    health,
    admission,
    local: <S extends DescService>(service: S) => {
      const [, handlers] = all.find(([served]) => served === service)!;
      return localClient(service, handlers as Handlers<S>, transport);
    },
    async [Symbol.asyncDispose]() {
      health.serving = false;
      if (options.delayMs > 0) await delay(options.delayMs);
      fortified[Symbol.dispose]();
      draining.abort();
      await within(options.graceMs, admission.idle());
      // Whoever has not taken its last answer by then never will: `tryShutdown` alone would wait for it for ever, and `forceShutdown` does
      // not find the connections when channelz is off.
      server.drain(options.address.replace(/\d+$/, String(port)), FLUSH_MS);
      await new Promise<void>(resolve => server.tryShutdown(() => resolve()));
    },
  };
}

/** Paths of the methods whose request is one message. */
function singles(service: DescService): string[] {
  const single = service.methods.filter(({ methodKind }) => /^(unary|server)/.test(methodKind));
  return single.map(method => methodDefinition(method).path);
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
