import type { DescService } from '@bufbuild/protobuf';
import type { Client } from '@grpc/grpc-js';
import type { AdmissionLimits } from '../../src/grpc/admission.ts';
import { type Handlers, served } from '../../src/grpc/bind.ts';
import type { CallReport } from '../../src/grpc/call.ts';
import { createClient, type TypedClient } from '../../src/grpc/client.ts';
import { type RunningServer, type ServerOptions, startServer } from '../../src/grpc/server.ts';
import { connect } from './backend.ts';

/** A server for the transport alone: any generated service with handlers of the test's own, and no database. */
export type Toy<S extends DescService> = AsyncDisposable & {
  readonly server: RunningServer;
  readonly channel: Client;
  readonly client: TypedClient<S>;
  readonly reports: CallReport[];
};

export async function startToy<S extends DescService>(
  service: S,
  handlers: Partial<Handlers<S>>,
  options: Partial<ServerOptions> = {},
): Promise<Toy<S>> {
  const reports: CallReport[] = [];
  const server = await startServer([served(service, handlers as Handlers<S>)], {
    address: '127.0.0.1:0',
    maxMessageBytes: 4 * 1024 * 1024,
    maxConnections: 1000,
    limits: generous,
    callTimeoutMs: 5000,
    writeTimeoutMs: 5000,
    keepaliveMs: 30_000,
    keepaliveTimeoutMs: 10_000,
    maxConnectionAgeMs: 3_600_000,
    maxConnectionAgeGraceMs: 3_600_000,
    delayMs: 0,
    graceMs: 2000,
    report: report => reports.push(report),
    ...options,
  });
  const channel = connect(`127.0.0.1:${server.port}`);
  return {
    server,
    channel,
    client: createClient(service, channel),
    reports,
    async [Symbol.asyncDispose]() {
      await server[Symbol.asyncDispose]();
      channel.close();
    },
  };
}

/** Limits that no test meets by chance. */
export const generous: AdmissionLimits = {
  requestBytes: 1_000_000_000,
  calls: 1000,
  callsPerConnection: 1000,
  callsPerCaller: undefined,
  streams: 100,
  streamsPerConnection: 100,
  streamsPerCaller: undefined,
  bytesPerConnection: undefined,
  bytesPerCaller: undefined,
};
