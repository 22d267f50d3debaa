import type { Config } from '../config.ts';
import { replicaService } from '../replica/service.ts';
import type { Opened } from './opened.ts';
import { ages } from './options.ts';

/** What a replica says of itself. */
export function replica(config: Config, { pool, doorbell, standby, rounds }: Opened) {
  return replicaService({
    pool,
    doorbell,
    standby,
    ages: ages(config),
    rounds,
    embedded: config.DATABASE_URL === undefined,
    patienceMs: config.DATABASE_CONNECT_TIMEOUT,
    limits: {
      messageBytes: config.MAX_MESSAGE_BYTES,
      logMessageBytes: config.LOG_MAX_MESSAGE_BYTES,
      payloadBytes: config.PAYLOAD_MAX_BYTES,
      calls: config.MAX_CALLS,
      streams: config.MAX_STREAMS,
      connections: config.MAX_CONNECTIONS,
      callTimeoutMs: config.CALL_TIMEOUT,
      leaseDurationMs: config.LEASE_DURATION,
    },
  });
}
