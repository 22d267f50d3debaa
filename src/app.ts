import type { Pool } from 'pg';
import type { Logger } from 'pino';
import { automationService } from './automation/service.ts';
import type { Config } from './config.ts';
import { ringChange } from './controller/bell.ts';
import { toRunFilter } from './controller/message.ts';
import { Reader } from './controller/read.ts';
import { controllerService, runsOf } from './controller/service.ts';
import { forgetRuns } from './course/forget.ts';
import type { Schedule } from './course/schedule.ts';
import { courseService } from './course/service.ts';
import { Doorbell } from './db/doorbell.ts';
import { startEmbeddedPostgres } from './db/embedded.ts';
import { openHotPool } from './db/hot.ts';
import { migrate, requireSchema } from './db/migrate.ts';
import { openOrm } from './db/orm.ts';
import { Setting } from './db/setting.ts';
import { sqlOn, transaction } from './db/sql.ts';
import { ControllerService } from './gen/backup/v1/controller_pb.ts';
import { CourseService } from './gen/backup/v1/course_pb.ts';
import { LogService } from './gen/backup/v1/log_pb.ts';
import type { Admission } from './grpc/admission.ts';
import { served } from './grpc/bind.ts';
import type { ServingState } from './grpc/health.ts';
import { startServer } from './grpc/server.ts';
import { ingestShortcut } from './ingest/message.ts';
import { ingestService } from './ingest/service.ts';
import type { Tell } from './log/append.ts';
import { Appender } from './log/appender.ts';
import { appendShortcut } from './log/message.ts';
import { logService } from './log/service.ts';
import { payloadService } from './payload/service.ts';
import { dropStaleChunks } from './payload/stale.ts';
import { periodic } from './periodic.ts';
import { forgetAnswers } from './request/forget.ts';
import { retain } from './retention/rounds.ts';
import { retentionServices } from './retention/service.ts';
import { summaryService } from './summary/service.ts';
import { Hub as Tails } from './tail/hub.ts';
import { tailService } from './tail/service.ts';
import { Tokens } from './tokens.ts';
import { Hub as Watch } from './watch/hub.ts';
import { encodeController, watchService } from './watch/service.ts';
import { workShortcuts } from './work/message.ts';
import { workService } from './work/service.ts';
import { givenBack, settleWithCourses } from './work/settle.ts';
import { sweep } from './work/sweep.ts';

export type App = AsyncDisposable & {
  readonly port: number;
  /** What is going on, for tests and metrics. */
  readonly admission: Admission;
  readonly doorbell: Doorbell;
  readonly watches: Watch;
  readonly tails: Tails;
};

/** Opens everything in order; disposing closes it in reverse. What was opened is closed, too, when a later step fails. */
export async function startApp(config: Config, log: Logger): Promise<App> {
  await using opening = new AsyncDisposableStack();
  const url = config.DATABASE_URL ?? opening.use(await startEmbeddedPostgres({ dataDir: config.DATA_DIR })).url;
  const database = {
    url,
    connectTimeoutMs: config.DATABASE_CONNECT_TIMEOUT,
    statementTimeoutMs: config.CALL_TIMEOUT,
    pooler: config.DATABASE_DIRECT_URL !== undefined,
    log: (message: string) => log.debug(message),
  };
  const directUrl = config.DATABASE_DIRECT_URL ?? url;
  if (config.MIGRATE === 'off') await requireSchema(directUrl);
  else for (const name of await migrate(directUrl)) log.info({ migration: name }, 'migrated');
  const orm = await openOrm({ ...database, poolSize: config.DATABASE_POOL_SIZE });
  opening.defer(() => orm.close());
  const pool: Pool = await orm.em.getConnection().getNativeClient();
  const doorbell = opening.use(
    new Doorbell({
      url: directUrl,
      enabled: config.NOTIFY === 'on',
      heartbeatMs: config.NOTIFY_HEARTBEAT,
      warn: message => log.warn(message),
    }),
  );
  const hot = opening.use(openHotPool(database));
  const tokens = new Tokens((await orm.em.fork().findOneOrFail(Setting, 'token_key')).value);
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
  const retention = retentionServices({ orm, pool, doorbell });

  const server = opening.use(
    await startServer(
      [
        served(ControllerService, {
          ...controllerService({ orm, reader: new Reader(sqlOn(hot)), doorbell, tokens, defaultPageSize }),
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
            fallback,
          }),
          ...summaryService(orm),
          ...retention.controllers,
        }),
        served(CourseService, {
          ...courseService({ orm, tokens, defaultPageSize, fallback }),
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
          ...logService({
            pool,
            appender: new Appender(sqlOn(hot), { mostBytes: config.APPEND_QUEUE_BYTES }),
            tell,
            tokens,
            runsOf: runsOf(orm),
            defaultPageSize,
            keeping,
          }),
          ...ingestService({
            source: {
              sql: sqlOn(hot),
              tell,
              options: { maxAgeMs: config.TAIL_MAX_AGE, outageMs: config.TAIL_OUTAGE },
            },
            keeping,
          }),
          ...tailService({
            source: {
              hub: tails,
              pool,
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
      ],
      {
        address: config.LISTEN,
        maxMessageBytes: config.MAX_MESSAGE_BYTES,
        maxCallsPerConnection: config.MAX_CALLS_PER_CONNECTION,
        maxStreams: config.MAX_STREAMS,
        maxStreamsPerConnection: config.MAX_STREAMS_PER_CONNECTION,
        callTimeoutMs: config.CALL_TIMEOUT,
        writeTimeoutMs: config.WRITE_TIMEOUT,
        keepaliveMs: config.KEEPALIVE_TIME,
        keepaliveTimeoutMs: config.KEEPALIVE_TIMEOUT,
        maxConnectionAgeMs: config.MAX_CONNECTION_AGE,
        maxConnectionAgeGraceMs: config.MAX_CONNECTION_AGE_GRACE,
        graceMs: config.SHUTDOWN_GRACE,
        shortcuts: [appendShortcut, ingestShortcut, ...workShortcuts],
        report: ({ error, ...call }) => (error ? log.error({ ...call, err: error }, 'call') : log.info(call, 'call')),
      },
    ),
  );
  opening.use(watchDatabase(pool, server.health, config.HEALTH_INTERVAL));
  opening.use(sweepLeases({ pool, doorbell, log }, config.SWEEP_INTERVAL, fallback));
  opening.use(expireRequests(pool, config.REQUEST_RETENTION, log));
  opening.use(sweepChunks(pool, log));
  opening.use(expireCourseRuns(pool, config.COURSE_RUN_RETENTION, log));
  const ages = {
    unchanged: config.RETENTION,
    settingUi: config.RETENTION_SETTING_UI,
    logs: config.LOG_RETENTION,
    dryRun: config.RETENTION_DRY_RUN === 'on',
    intervalMs: config.RETENTION_INTERVAL,
  };
  opening.use(retain({ pool, doorbell, log }, ages));

  const open = opening.move();
  return {
    port: server.port,
    admission: server.admission,
    doorbell,
    watches,
    tails,
    [Symbol.asyncDispose]: () => open.disposeAsync(),
  };
}

/** Keeps health at what the database says. */
function watchDatabase(pool: Pool, health: ServingState, intervalMs: number): AsyncDisposable {
  return periodic(intervalMs, async signal => {
    const answers = await pool.query('select 1').then(
      () => true,
      () => false,
    );
    if (!signal.aborted) health.serving = answers;
  });
}

/** Looks for workers that are gone. A database that is away is not worth a word: it has the leases, and they wait for it. */
function sweepLeases(
  { pool, doorbell, log }: { pool: Pool; doorbell: Doorbell; log: Logger },
  intervalMs: number,
  fallback: Schedule | undefined,
): AsyncDisposable {
  // Twice as often as anybody has to, so that a round which came just too early costs half an interval only.
  return periodic(intervalMs / 2, async () => {
    const swept = await sweep(pool, intervalMs, fallback).catch(() => undefined);
    for (const { run, status } of swept?.lost ?? []) {
      log.warn({ backupId: run.backupId, worker: run.leaseWorker, attempt: run.attempt, status }, 'lease lost');
      ringChange(doorbell, { ...run, status });
    }
    for (const course of swept?.repaired ?? []) {
      log.warn({ ...course, courseId: String(course.courseId) }, 'course was said to be running and was not');
    }
  });
}

/** Forgets old answers to requests. A database that is away is not worth a word: the next round will find it. */
function expireRequests(pool: Pool, retentionMs: number, log: Logger): AsyncDisposable {
  return periodic(60_000, async signal => {
    const forgotten = await forgetAnswers(pool, retentionMs, signal).catch(() => 0);
    if (forgotten > 0) log.debug({ forgotten }, 'forgot old requests');
  });
}

/** Deletes old records of what became of courses' starts. */
function expireCourseRuns(pool: Pool, olderThan: number | undefined, log: Logger): AsyncDisposable {
  return periodic(60_000, async signal => {
    if (olderThan === undefined) return;
    const forgotten = await forgetRuns(pool, olderThan, signal).catch(() => 0);
    if (forgotten > 0) log.debug({ forgotten }, 'deleted old records of course runs');
  });
}

/** Deletes what uploads have left behind, now and again; a database that is away is not worth a word here either. */
function sweepChunks(pool: Pool, log: Logger): AsyncDisposable {
  return periodic(60_000, async signal => {
    const dropped = await dropStaleChunks(pool, signal).catch(() => 0);
    if (dropped > 0) log.debug({ dropped }, 'deleted chunks of old uploads');
  });
}
