import type { Config } from '../config.ts';
import { toRunFilter } from '../controller/message.ts';
import { runsOf } from '../controller/service.ts';
import { sqlOn } from '../db/sql.ts';
import { ingestService } from '../ingest/service.ts';
import { logService } from '../log/service.ts';
import { historyFrom, READ_AT_STANDBY, readingFrom } from '../reading.ts';
import { tailService } from '../tail/service.ts';
import type { Opened } from './opened.ts';
import { keeping, PAGE, transactionMs } from './options.ts';

/** What LogService does: the record of logs, streams of batches, and tails. Not what retention does. */
export function logs(config: Config, opened: Opened) {
  const { orm, pool, hot, standby, archive, appender, tails, tell, tokens } = opened;
  const source = { pool, archive };
  const streams = { maxAgeMs: config.TAIL_MAX_AGE, outageMs: config.TAIL_OUTAGE };
  return {
    ...readingFrom(
      standby,
      READ_AT_STANDBY.logs,
      logService({
        source,
        appender,
        tell,
        tokens,
        runsOf: runsOf(orm),
        defaultPageSize: config.DEFAULT_PAGE_SIZE,
        keeping: keeping(config),
      }),
    ),
    ...ingestService({
      source: {
        sql: sqlOn(hot),
        tell,
        options: { ...streams, ahead: { most: config.APPEND_QUEUE_BYTES, held: 0 } },
      },
      keeping: keeping(config),
    }),
    ...tailService({
      source: {
        hub: tails,
        source,
        history: historyFrom(standby),
        options: {
          ...streams,
          page: PAGE,
          heartbeatMs: config.TAIL_HEARTBEAT,
          transactionMs: transactionMs(config),
        },
      },
      toRunFilter,
      tokens,
      writeTimeoutMs: config.WRITE_TIMEOUT,
    }),
  };
}
