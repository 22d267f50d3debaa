import type { Config } from '../config.ts';
import { Reader } from '../controller/read.ts';
import { controllerService } from '../controller/service.ts';
import { sqlOn } from '../db/sql.ts';
import { payloadService } from '../payload/service.ts';
import { READ_AT_STANDBY, readingFrom } from '../reading.ts';
import { summaryService } from '../summary/service.ts';
import { watchService } from '../watch/service.ts';
import { workService } from '../work/service.ts';
import type { Opened } from './opened.ts';
import { keeping, transactionMs } from './options.ts';

/** What ControllerService does: by the rooms of controllers, of work, of payloads, of watches, and by counts. Not what retention does. */
export function controllers(config: Config, opened: Opened) {
  const { orm, pool, hot, standby, doorbell, tokens, watches, probe } = opened;
  const mostWaiting = config.MAX_WAITING;
  return {
    ...readingFrom(standby, READ_AT_STANDBY.controllers, {
      ...controllerService({
        orm,
        reader: new Reader(sqlOn(hot), { mostWaiting, probe }),
        doorbell,
        tokens,
        defaultPageSize: config.DEFAULT_PAGE_SIZE,
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
        transactionMs: transactionMs(config),
        perMessage: 200,
        mostChanges: 20_000,
      },
    }),
    ...workService({
      orm,
      pool: hot,
      doorbell,
      keeping: keeping(config),
      leaseMs: config.LEASE_DURATION,
      pollMs: config.TAIL_POLL,
      skipLocked: config.SKIP_LOCKED === 'on',
      probe,
      mostWaiting,
      fallback: config.COURSE_SCHEDULE,
    }),
  };
}
