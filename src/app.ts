import type { Pool } from 'pg';
import type { Logger } from 'pino';
import { automationService } from './automation/service.ts';
import { expireCourseRuns, expireRequests, sweepChunks, sweepLeases, watchDatabase } from './background.ts';
import type { Config } from './config.ts';
import { toRunFilter } from './controller/message.ts';
import { Reader } from './controller/read.ts';
import { controllerService, runsOf } from './controller/service.ts';
import { courseService } from './course/service.ts';
import { readCluster, requirePlans, warningsOf } from './db/cluster.ts';
import { channelOf, Doorbell } from './db/doorbell.ts';
import { startEmbeddedPostgres } from './db/embedded.ts';
import { requireEngine, workOn } from './db/engine.ts';
import { openHotPool } from './db/hot.ts';
import { migrate, requireSchema } from './db/migrate.ts';
import { openOrm } from './db/orm.ts';
import { Setting } from './db/setting.ts';
import { sqlOn, transaction } from './db/sql.ts';
import { Standby } from './db/standby/standby.ts';
import { guard, whileWanted } from './db/wanted.ts';
import { ControllerService } from './gen/backup/v1/controller_pb.ts';
import { CourseService } from './gen/backup/v1/course_pb.ts';
import { LogService } from './gen/backup/v1/log_pb.ts';
import { ReplicaService } from './gen/backup/v1/replica_pb.ts';
import type { Admission } from './grpc/admission.ts';
import { served } from './grpc/bind.ts';
import { type RunningServer, startServer } from './grpc/server.ts';
import { isLoopback } from './identity/exposure.ts';
import { openSecurity, type SecurityOptions } from './identity/security.ts';
import { ingestShortcut } from './ingest/message.ts';
import { ingestService } from './ingest/service.ts';
import type { Tell } from './log/append.ts';
import { Appender } from './log/appender.ts';
import { appendShortcut } from './log/message.ts';
import { logService } from './log/service.ts';
import { payloadService } from './payload/service.ts';
import { historyFrom, READ_AT_STANDBY, readingFrom } from './reading.ts';
import { replicaService } from './replica/service.ts';
import { retain } from './retention/rounds.ts';
import { retentionServices } from './retention/service.ts';
import { Archive } from './segment/archive.ts';
import type { Credentials } from './segment/location.ts';
import { openStore } from './segment/open.ts';
import { moveOldLogs, type SegmentRounds } from './segment/rounds.ts';
import { readBacklog } from './summary/backlog.ts';
import { summaryService } from './summary/service.ts';
import { Hub as Tails } from './tail/hub.ts';
import { tailService } from './tail/service.ts';
import { openTelemetry } from './telemetry/telemetry.ts';
import { Tokens } from './tokens.ts';
import { Hub as Watch } from './watch/hub.ts';
import { encodeController, watchService } from './watch/service.ts';
import { workShortcuts } from './work/message.ts';
import { workService } from './work/service.ts';
import { givenBack, settleWithCourses } from './work/settle.ts';

export type App = AsyncDisposable & {
  readonly port: number;
  /** What is going on, for tests and metrics. */
  readonly admission: Admission;
  readonly doorbell: Doorbell;
  readonly watches: Watch;
  readonly tails: Tails;
  readonly standby: Standby | undefined;
  readonly archive: Archive;
  readonly segments: SegmentRounds;
  /** Where /metrics is, if it is anywhere. */
  readonly metricsPort: number | undefined;
  /** Host and port of the status page, if there is one. */
  readonly pageAddress: string | undefined;
};

/** Opens everything in order; disposing closes it in reverse. What was opened is closed, too, when a later step fails. */
export async function startApp(config: Config, log: Logger): Promise<App> {
  await using opening = new AsyncDisposableStack();
  workOn(config.ENGINE);
  const url = config.DATABASE_URL ?? opening.use(await startEmbeddedPostgres({ dataDir: config.DATA_DIR })).url;
  const telemetry = opening.use(
    await openTelemetry({
      metrics: config.METRICS_LISTEN,
      traces: config.TRACES_ENDPOINT ? { endpoint: config.TRACES_ENDPOINT, ratio: config.TRACES_RATIO } : undefined,
    }),
  );
  const { probe } = telemetry;
  const database = {
    url,
    connectTimeoutMs: config.DATABASE_CONNECT_TIMEOUT,
    statementTimeoutMs: config.CALL_TIMEOUT,
    pooler: config.DATABASE_DIRECT_URL !== undefined,
    log: (message: string) => log.debug(message),
  };
  const directUrl = config.DATABASE_DIRECT_URL ?? url;
  if (config.MIGRATE === 'off') await requireSchema(directUrl, config.ENGINE);
  else for (const name of await migrate(directUrl, config.ENGINE)) log.info({ migration: name }, 'migrated');
  const orm = await openOrm({ ...database, poolSize: config.DATABASE_POOL_SIZE });
  opening.defer(() => orm.close());
  const pool: Pool = await orm.em.getConnection().getNativeClient();
  const tokenKey = (await orm.em.fork().findOneOrFail(Setting, 'token_key')).value;
  // By now whoever moves the database to another engine sees that somebody is connected, and waits; or has done so before.
  await requireEngine(sqlOn(pool), config.ENGINE);
  if (config.ENGINE === 'citus') {
    await requirePlans(sqlOn(pool));
    for (const warning of warningsOf(await transaction(pool, readCluster))) log.warn(warning);
  }
  const doorbell = opening.use(
    new Doorbell({
      url: config.DOORBELL_URL ?? directUrl,
      channel: channelOf(tokenKey),
      enabled: config.NOTIFY === 'on',
      heartbeatMs: config.NOTIFY_HEARTBEAT,
      warn: message => log.warn(message),
    }),
  );
  const mostWaiting = config.MAX_WAITING;
  guard(pool, mostWaiting);
  const hot = opening.use(openHotPool({ ...database, mostWaiting }));
  const standby = config.DATABASE_READ_URL
    ? opening.use(
        new Standby(hot, {
          ...database,
          url: config.DATABASE_READ_URL,
          poolSize: config.DATABASE_POOL_SIZE,
          mostWaiting,
          lagMs: config.READ_LAG,
          log: state => log[state === 'READ' ? 'info' : 'warn']({ state }, 'standby'),
        }),
      )
    : undefined;
  standby?.route(pool);
  for (const followed of [pool, hot, ...(standby ? [standby.pool] : [])]) telemetry.follow(followed);
  const tokens = new Tokens(tokenKey);
  const defaultPageSize = config.DEFAULT_PAGE_SIZE;
  const keeping = { keepLevel: config.LOG_KEEP_LEVEL, maxMessageBytes: config.LOG_MAX_MESSAGE_BYTES };
  const skipLocked = config.SKIP_LOCKED === 'on';
  const fallback = config.COURSE_SCHEDULE;
  const watches = opening.use(
    new Watch({
      sql: sqlOn(pool),
      orm,
      doorbell,
      encode: encodeController,
      pollMs: config.TAIL_POLL,
      outageMs: config.TAIL_OUTAGE,
      most: 10_000,
    }),
  );
  const page = { entries: 1000, bytes: 256 * 1024 };
  // A statement in it may be the last one, and have waited for as long as it may.
  const transactionMs = 2 * config.CALL_TIMEOUT;
  const tails = opening.use(
    new Tails({
      hot,
      doorbell,
      page,
      pollMs: config.TAIL_POLL,
      outageMs: config.TAIL_OUTAGE,
      direct: config.NOTIFY === 'on',
      transactionMs,
      recentBytes: config.TAIL_RECENT_BYTES,
    }),
  );
  const tell: Tell = (backupId, entries, appended) => {
    tails.appended(backupId, entries, appended);
    doorbell.ringElsewhere(backupId);
  };
  const store = config.SEGMENT_STORE && (await openStore(config.SEGMENT_STORE, credentialsOf(config)));
  const archive = new Archive({
    pool,
    store,
    cacheBytes: config.SEGMENT_CACHE_BYTES,
    lost: problem => log.error(problem, 'a segment of a log is lost'),
  });
  const retention = retentionServices({ orm, pool, archive, doorbell });
  const appender = new Appender(sqlOn(hot), { mostBytes: config.APPEND_QUEUE_BYTES, probe });

  const ages = {
    unchanged: config.RETENTION,
    settingUi: config.RETENTION_SETTING_UI,
    logs: config.LOG_RETENTION,
    dryRun: config.RETENTION_DRY_RUN === 'on',
    intervalMs: config.RETENTION_INTERVAL,
  };
  const security = opening.use(await openSecurity(securityOf(config), log));

  const server = opening.use(
    await startServer(
      [
        served(ControllerService, {
          ...readingFrom(standby, READ_AT_STANDBY.controllers, {
            ...controllerService({
              orm,
              reader: new Reader(sqlOn(hot), { mostWaiting, probe }),
              doorbell,
              tokens,
              defaultPageSize,
            }),
            ...summaryService(orm),
          }),
          ...payloadService({ pool, doorbell, maxPayloadBytes: config.PAYLOAD_MAX_BYTES }),
          ...watchService({
            hub: watches,
            sql: sqlOn(pool),
            tokens,
            options: {
              heartbeatMs: config.TAIL_HEARTBEAT,
              maxAgeMs: config.TAIL_MAX_AGE,
              outageMs: config.TAIL_OUTAGE,
              retentionMs: config.REQUEST_RETENTION,
              transactionMs,
              perMessage: 200,
              mostChanges: 20_000,
            },
          }),
          ...workService({
            orm,
            pool: hot,
            doorbell,
            keeping,
            leaseMs: config.LEASE_DURATION,
            pollMs: config.TAIL_POLL,
            skipLocked,
            probe,
            mostWaiting,
            fallback,
          }),
          ...retention.controllers,
        }),
        served(CourseService, {
          ...readingFrom(standby, READ_AT_STANDBY.courses, courseService({ orm, tokens, defaultPageSize, fallback })),
          ...automationService({
            orm,
            doorbell,
            leaseMs: config.LEASE_DURATION,
            skipLocked,
            fallback,
            giveBack: async held => {
              await transaction(pool, sql => settleWithCourses(sql, held.map(givenBack), fallback));
            },
          }),
        }),
        served(LogService, {
          ...readingFrom(
            standby,
            READ_AT_STANDBY.logs,
            logService({
              source: { pool, archive },
              appender,
              tell,
              tokens,
              runsOf: runsOf(orm),
              defaultPageSize,
              keeping,
            }),
          ),
          ...ingestService({
            source: {
              sql: sqlOn(hot),
              tell,
              options: {
                maxAgeMs: config.TAIL_MAX_AGE,
                outageMs: config.TAIL_OUTAGE,
                ahead: { most: config.APPEND_QUEUE_BYTES, held: 0 },
              },
            },
            keeping,
          }),
          ...tailService({
            source: {
              hub: tails,
              source: { pool, archive },
              history: historyFrom(standby),
              options: {
                page,
                heartbeatMs: config.TAIL_HEARTBEAT,
                maxAgeMs: config.TAIL_MAX_AGE,
                outageMs: config.TAIL_OUTAGE,
                transactionMs,
              },
            },
            toRunFilter,
            tokens,
            writeTimeoutMs: config.WRITE_TIMEOUT,
          }),
          ...retention.logs,
        }),
        served(
          ReplicaService,
          replicaService({
            pool,
            doorbell,
            standby,
            ages,
            // It begins after the server, so that it ends before calls do.
            rounds: () => retaining,
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
          }),
        ),
      ],
      {
        address: config.LISTEN,
        credentials: security.credentials,
        guard: security.guard,
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
      },
    ),
  );
  opening.use(watchDatabase(pool, server.health, config.HEALTH_INTERVAL));
  const sweeps = opening.use(sweepLeases({ pool, doorbell, log }, config.SWEEP_INTERVAL, fallback));
  opening.use(expireRequests(pool, config.REQUEST_RETENTION, log));
  opening.use(sweepChunks(pool, log));
  opening.use(expireCourseRuns(pool, config.COURSE_RUN_RETENTION, log));
  const retaining = opening.use(retain({ pool, archive, doorbell, log }, ages));
  const segments = opening.use(
    moveOldLogs(
      store && { pool, store, log },
      config.SEGMENT_AFTER === undefined ? undefined : { after: config.SEGMENT_AFTER, bytes: config.SEGMENT_BYTES },
      config.SEGMENT_INTERVAL,
    ),
  );
  const metrics = opening.use(
    await telemetry.serve({
      health: server.health,
      admission: server.admission,
      appender,
      tails,
      watches,
      doorbell,
      sweeps,
      retention: retaining,
      archive,
      segments,
      standby,
      pools: { main: pool, hot, ...(standby && { standby: standby.pool }) },
      readBacklog: () => readBacklog(sqlOn(hot)),
    }),
  );
  if (metrics) log.info({ port: metrics.port }, 'metrics');
  const statusPage = opening.use(await openPage(config, server, log));

  const open = opening.move();
  return {
    port: server.port,
    admission: server.admission,
    doorbell,
    watches,
    tails,
    standby,
    archive,
    segments,
    metricsPort: metrics?.port,
    pageAddress: statusPage?.address,
    [Symbol.asyncDispose]: () => open.disposeAsync(),
  };
}

function credentialsOf({ AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, AWS_SESSION_TOKEN }: Config): Credentials {
  return {
    accessKeyId: AWS_ACCESS_KEY_ID ?? '',
    secretAccessKey: AWS_SECRET_ACCESS_KEY ?? '',
    sessionToken: AWS_SESSION_TOKEN,
  };
}

function securityOf(config: Config): SecurityOptions {
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

/** The status page, loaded where it is wanted only. Where nobody has asked for it, another service may have its port. */
async function openPage(
  config: Config,
  server: RunningServer,
  log: Logger,
): Promise<(AsyncDisposable & { address: string }) | undefined> {
  const { PAGE_LISTEN: wanted, DATABASE_URL, TOKEN_JWKS, TLS_CLIENT_CA, INSECURE, WRITE_TIMEOUT } = config;
  const byItself = wanted === 'auto';
  // The page asks nobody who he is: where callers are asked, it is not there by itself.
  if (wanted === 'off' || (byItself && (DATABASE_URL || TOKEN_JWKS || TLS_CLIENT_CA))) return undefined;
  const address = byItself ? '127.0.0.1:50080' : wanted;
  const local = isLoopback(address);
  if (!local) log.warn(`everybody who reaches ${address} can read the status page, as INSECURE=${INSECURE} allows`);
  const { servePage } = await import('./page/page.ts');
  try {
    const page = await servePage({
      address,
      services: {
        controllers: server.local(ControllerService),
        courses: server.local(CourseService),
        logs: server.local(LogService),
      },
      allowsHost: host => !local || isLoopback(host),
      writeTimeoutMs: WRITE_TIMEOUT,
      fault: error => log.error({ err: error }, 'status page'),
    });
    return Object.assign(page, { address: address.replace(/\d+$/, String(page.port)) });
  } catch (error) {
    if (!byItself || (error as NodeJS.ErrnoException).code !== 'EADDRINUSE') throw error;
    log.warn(`there is no status page: ${address} is taken; PAGE_LISTEN gives it another address`);
    return undefined;
  }
}
