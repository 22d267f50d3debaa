import type { Logger } from 'pino';
import type { Config } from '../config.ts';
import { whileWanted } from '../db/wanted.ts';
import { LogService } from '../gen/backup/v1/log_pb.ts';
import type { ServerOptions } from '../grpc/server.ts';
import { ingestShortcut } from '../ingest/message.ts';
import { appendShortcut } from '../log/message.ts';
import type { Telemetry } from '../telemetry/telemetry.ts';
import { workShortcuts } from '../work/message.ts';

/** How the services are served: where, within which limits, and what is told of each call. */
export function serverOptions(
  config: Config,
  { credentials, guard }: Pick<ServerOptions, 'credentials' | 'guard'>,
  telemetry: Telemetry,
  log: Logger,
): ServerOptions {
  return {
    address: config.LISTEN,
    credentials,
    guard,
    maxMessageBytes: config.MAX_MESSAGE_BYTES,
    maxConnections: config.MAX_CONNECTIONS,
    limits: {
      requestBytes: config.MAX_REQUEST_BYTES,
      calls: config.MAX_CALLS,
      callsPerConnection: config.MAX_CALLS_PER_CONNECTION,
      callsPerCaller: config.MAX_CALLS_PER_CALLER,
      streams: config.MAX_STREAMS,
      streamsPerConnection: config.MAX_STREAMS_PER_CONNECTION,
      streamsPerCaller: config.MAX_STREAMS_PER_CALLER,
      bytesPerConnection: config.APPEND_RATE_PER_CONNECTION,
      bytesPerCaller: config.APPEND_RATE_PER_CALLER,
    },
    metered: [LogService.method.appendLogs, LogService.method.ingestLogs],
    whileWanted,
    callTimeoutMs: config.CALL_TIMEOUT,
    writeTimeoutMs: config.WRITE_TIMEOUT,
    keepaliveMs: config.KEEPALIVE_TIME,
    keepaliveTimeoutMs: config.KEEPALIVE_TIMEOUT,
    maxConnectionAgeMs: config.MAX_CONNECTION_AGE,
    maxConnectionAgeGraceMs: config.MAX_CONNECTION_AGE_GRACE,
    delayMs: config.SHUTDOWN_DELAY,
    graceMs: config.SHUTDOWN_GRACE,
    shortcuts: [appendShortcut, ingestShortcut, ...workShortcuts],
    around: telemetry.around,
    report: report => {
      const { error, ...call } = report;
      Object.assign(call, telemetry.called(report));
      if (error) log.error({ ...call, err: error }, 'call');
      else log.info(call, 'call');
    },
  };
}
