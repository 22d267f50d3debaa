import type { Logger } from 'pino';
import type { Config } from '../config.ts';
import { channelOf, type DoorbellOptions } from '../db/doorbell.ts';
import type { DatabaseOptions } from '../db/orm.ts';
import type { StandbyOptions } from '../db/standby/standby.ts';
import type { SecurityOptions } from '../identity/security.ts';
import type { Keeping } from '../log/message.ts';
import type { Retention } from '../retention/rounds.ts';
import type { Credentials } from '../segment/location.ts';
import type { MoveRule } from '../segment/move.ts';
import type { HubOptions as TailOptions } from '../tail/hub.ts';
import type { TelemetryOptions } from '../telemetry/telemetry.ts';
import type { HubOptions as WatchOptions } from '../watch/hub.ts';

// What the settings say to each part of the service, in the order in which the parts are opened.

export function telemetryOptions(config: Config): TelemetryOptions {
  const { METRICS_LISTEN: metrics, TRACES_ENDPOINT: endpoint, TRACES_RATIO: ratio } = config;
  return { metrics, traces: endpoint ? { endpoint, ratio } : undefined };
}

export function databaseOptions(config: Config, url: string, log: Logger): DatabaseOptions & { mostWaiting: number } {
  return {
    url,
    poolSize: config.DATABASE_POOL_SIZE,
    mostWaiting: config.MAX_WAITING,
    connectTimeoutMs: config.DATABASE_CONNECT_TIMEOUT,
    statementTimeoutMs: config.CALL_TIMEOUT,
    pooler: config.DATABASE_DIRECT_URL !== undefined,
    log: message => log.debug(message),
  };
}

/** `tokenKey` is of the database, so rings stay among its replicas. */
export function doorbellOptions(config: Config, directUrl: string, tokenKey: string, log: Logger): DoorbellOptions {
  return {
    url: config.DOORBELL_URL ?? directUrl,
    channel: channelOf(tokenKey),
    enabled: config.NOTIFY === 'on',
    heartbeatMs: config.NOTIFY_HEARTBEAT,
    warn: message => log.warn(message),
  };
}

/** That of the primary, but for the address. */
export function standbyOptions(config: Config, url: string, log: Logger): StandbyOptions {
  return {
    ...databaseOptions(config, url, log),
    lagMs: config.READ_LAG,
    log: state => log[state === 'READ' ? 'info' : 'warn']({ state }, 'standby'),
  };
}

export function watchOptions(config: Config): Pick<WatchOptions, 'pollMs' | 'outageMs' | 'most'> {
  return { pollMs: config.TAIL_POLL, outageMs: config.TAIL_OUTAGE, most: 10_000 };
}

export function tailOptions(config: Config): Omit<TailOptions, 'hot' | 'doorbell'> {
  return {
    page: PAGE,
    pollMs: config.TAIL_POLL,
    outageMs: config.TAIL_OUTAGE,
    direct: config.NOTIFY === 'on',
    transactionMs: transactionMs(config),
    recentBytes: config.TAIL_RECENT_BYTES,
  };
}

/** What of an entry is kept. */
export function keeping(config: Config): Keeping {
  return { keepLevel: config.LOG_KEEP_LEVEL, maxMessageBytes: config.LOG_MAX_MESSAGE_BYTES };
}

/** Of a tail. */
export const PAGE = { entries: 1000, bytes: 256 * 1024 };

/** How long a transaction may take. A statement in it may be the last one, and have waited for as long as it may. */
export function transactionMs(config: Config): number {
  return 2 * config.CALL_TIMEOUT;
}

export function credentials({ AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, AWS_SESSION_TOKEN }: Config): Credentials {
  return {
    accessKeyId: AWS_ACCESS_KEY_ID ?? '',
    secretAccessKey: AWS_SECRET_ACCESS_KEY ?? '',
    sessionToken: AWS_SESSION_TOKEN,
  };
}

export function securityOptions(config: Config): SecurityOptions {
  const { TLS_CERT, TLS_KEY, TLS_CLIENT_CA, TOKEN_JWKS, TOKEN_ISSUER, TOKEN_AUDIENCE } = config;
  return {
    address: config.LISTEN,
    tls: TLS_CERT && TLS_KEY ? { cert: TLS_CERT, key: TLS_KEY, clientCa: TLS_CLIENT_CA } : undefined,
    tlsLookMs: config.TLS_RELOAD,
    clientScopes: config.TLS_CLIENT_SCOPES,
    tokens:
      TOKEN_JWKS && TOKEN_ISSUER && TOKEN_AUDIENCE
        ? {
            jwks: TOKEN_JWKS,
            issuer: TOKEN_ISSUER,
            audience: TOKEN_AUDIENCE,
            skewMs: config.TOKEN_SKEW,
            refreshMs: config.TOKEN_REFRESH,
          }
        : undefined,
    openHealth: config.OPEN_HEALTH === 'on',
  };
}

export function ages(config: Config): Retention {
  return {
    unchanged: config.RETENTION,
    settingUi: config.RETENTION_SETTING_UI,
    logs: config.LOG_RETENTION,
    dryRun: config.RETENTION_DRY_RUN === 'on',
    intervalMs: config.RETENTION_INTERVAL,
  };
}

/** Undefined: nothing is moved. */
export function moveRule({ SEGMENT_AFTER: after, SEGMENT_BYTES: bytes }: Config): MoveRule | undefined {
  return after === undefined ? undefined : { after, bytes };
}
