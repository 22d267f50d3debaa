import type { Pool } from 'pg';
import type { Logger } from 'pino';
import {
  ages,
  credentials,
  databaseOptions,
  doorbellOptions,
  moveRule,
  securityOptions,
  standbyOptions,
  tailOptions,
  telemetryOptions,
  watchOptions,
} from './app/options.ts';
import { services } from './app/services.ts';
import { serverOptions } from './app/serving.ts';
import { openStatusPage } from './app/status-page.ts';
import { expireCourseRuns, expireRequests, sweepChunks, sweepLeases, watchDatabase } from './background.ts';
import type { Config } from './config.ts';
import { readCluster, requirePlans, warningsOf } from './db/cluster.ts';
import { Doorbell } from './db/doorbell.ts';
import { startEmbeddedPostgres } from './db/embedded.ts';
import { requireEngine, workOn } from './db/engine.ts';
import { openHotPool } from './db/hot.ts';
import { migrate, requireSchema } from './db/migrate.ts';
import { openOrm } from './db/orm.ts';
import { Setting } from './db/setting.ts';
import { sqlOn, transaction } from './db/sql.ts';
import { Standby } from './db/standby/standby.ts';
import { guard } from './db/wanted.ts';
import type { Admission } from './grpc/admission.ts';
import { startServer } from './grpc/server.ts';
import { openSecurity } from './identity/security.ts';
import type { Tell } from './log/append.ts';
import { Appender } from './log/appender.ts';
import { retain } from './retention/rounds.ts';
import { Archive } from './segment/archive.ts';
import { openStore } from './segment/open.ts';
import { moveOldLogs, type SegmentRounds } from './segment/rounds.ts';
import { readBacklog } from './summary/backlog.ts';
import { Hub as Tails } from './tail/hub.ts';
import { openTelemetry } from './telemetry/telemetry.ts';
import { Tokens } from './tokens.ts';
import { Hub as Watch } from './watch/hub.ts';
import { encodeController } from './watch/service.ts';

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
  const telemetry = opening.use(await openTelemetry(telemetryOptions(config)));
  const { probe } = telemetry;

  const directUrl = config.DATABASE_DIRECT_URL ?? url;
  if (config.MIGRATE === 'off') await requireSchema(directUrl, config.ENGINE);
  else for (const name of await migrate(directUrl, config.ENGINE)) log.info({ migration: name }, 'migrated');
  const database = databaseOptions(config, url, log);
  const orm = await openOrm(database);
  opening.defer(() => orm.close());
  const pool: Pool = await orm.em.getConnection().getNativeClient();
  const tokenKey = (await orm.em.fork().findOneOrFail(Setting, 'token_key')).value;
  // By now whoever moves the database to another engine sees that somebody is connected, and waits; or has done so before.
  await requireEngine(sqlOn(pool), config.ENGINE);
  if (config.ENGINE === 'citus') {
    await requirePlans(sqlOn(pool));
    for (const warning of warningsOf(await transaction(pool, readCluster))) log.warn(warning);
  }
  const doorbell = opening.use(new Doorbell(doorbellOptions(config, directUrl, tokenKey, log)));
  guard(pool, config.MAX_WAITING);
  const hot = opening.use(openHotPool(database));
  const standby =
    config.DATABASE_READ_URL === undefined
      ? undefined
      : opening.use(new Standby(hot, standbyOptions(config, config.DATABASE_READ_URL, log)));
  standby?.route(pool);
  for (const followed of [pool, hot, ...(standby ? [standby.pool] : [])]) telemetry.follow(followed);

  const watches = opening.use(
    new Watch({ sql: sqlOn(pool), orm, doorbell, encode: encodeController, ...watchOptions(config) }),
  );
  const tails = opening.use(new Tails({ hot, doorbell, ...tailOptions(config) }));
  const tell: Tell = (backupId, entries, appended) => {
    tails.appended(backupId, entries, appended);
    doorbell.ringElsewhere(backupId);
  };
  const store = config.SEGMENT_STORE && (await openStore(config.SEGMENT_STORE, credentials(config)));
  const archive = new Archive({
    pool,
    store,
    cacheBytes: config.SEGMENT_CACHE_BYTES,
    lost: problem => log.error(problem, 'a segment of a log is lost'),
  });
  const appender = new Appender(sqlOn(hot), { mostBytes: config.APPEND_QUEUE_BYTES, probe });
  const tokens = new Tokens(tokenKey);

  const security = opening.use(await openSecurity(securityOptions(config), log));
  // Retention begins after the server, so that it ends before calls do.
  const rounds = () => retaining;
  const needs = { orm, pool, hot, standby, doorbell, tokens, watches, tails, tell, archive, appender, probe, rounds };
  const server = opening.use(
    await startServer(services(config, needs), serverOptions(config, security, telemetry, log)),
  );

  opening.use(watchDatabase(pool, server.health, config.HEALTH_INTERVAL));
  const sweeps = opening.use(sweepLeases({ pool, doorbell, log }, config.SWEEP_INTERVAL, config.COURSE_SCHEDULE));
  opening.use(expireRequests(pool, config.REQUEST_RETENTION, log));
  opening.use(sweepChunks(pool, log));
  opening.use(expireCourseRuns(pool, config.COURSE_RUN_RETENTION, log));
  const retaining = opening.use(retain({ pool, archive, doorbell, log }, ages(config)));
  const segments = opening.use(moveOldLogs(store && { pool, store, log }, moveRule(config), config.SEGMENT_INTERVAL));
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
  const statusPage = opening.use(await openStatusPage(config, server, log));

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
