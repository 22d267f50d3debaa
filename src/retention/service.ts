import type { Duration } from '@bufbuild/protobuf/wkt';
import type { MikroORM } from '@mikro-orm/postgresql';
import { Status } from '../controller/lifecycle.ts';
import type { Doorbell } from '../db/doorbell.ts';
import { sqlOn } from '../db/sql.ts';
import { ControllerService, type PurgeControllersRequest } from '../gen/backup/v1/controller_pb.ts';
import { LogService, type PurgeLogsRequest } from '../gen/backup/v1/log_pb.ts';
import type { Handlers } from '../grpc/bind.ts';
import { once, subjectOfMany } from '../request/once.ts';
import type { Logs } from '../segment/archive.ts';
import { purgeLogs, wouldPurgeLogs } from './logs.ts';
import type { LogRule } from './oldest.ts';
import { purge, type Rule, wouldPurge } from './purge.ts';

type Served = {
  controllers: Pick<Handlers<typeof ControllerService>, 'purgeControllers'>;
  logs: Pick<Handlers<typeof LogService>, 'purgeLogs'>;
};

/** Both services' handlers that delete by age. */
export function retentionServices(needs: Logs & { orm: MikroORM; doorbell: Doorbell }): Served {
  const { orm, pool, doorbell } = needs;
  const inTurn = turns();
  // The batches run on other connections while a transaction holds the row of the request, for which a duplicate waits. If it ends without an
  // answer, what was deleted stays deleted, and the same request sent again goes on from there.
  const onceInTurn: typeof once = (...call) => inTurn(() => once(...call));
  return {
    controllers: {
      async purgeControllers(request, { signal }) {
        const rule = ruleOf(request);
        const max = request.maxControllers || DEFAULT_MAX;
        const purging = async () => {
          signal.throwIfAborted();
          const purged = request.dryRun
            ? await wouldPurge(sqlOn(pool), rule, max)
            : await purge({ pool, doorbell }, rule, { max, signal });
          signal.throwIfAborted();
          return { ...purged, controllers: BigInt(purged.controllers) };
        };
        if (!request.requestId) return purging();
        return onceInTurn(orm, ControllerService.method.purgeControllers, subjectOfMany(request), request, purging);
      },
    },
    logs: {
      async purgeLogs(request, { signal }) {
        const rule = logRuleOf(request);
        const limits = { max: request.maxEntries || DEFAULT_MAX_ENTRIES, signal };
        const purging = async () => {
          signal.throwIfAborted();
          const purged = request.dryRun
            ? await wouldPurgeLogs(needs, rule, limits)
            : await purgeLogs(needs, rule, limits);
          signal.throwIfAborted();
          return { ...purged, logs: BigInt(purged.logs) };
        };
        if (!request.requestId) return purging();
        return onceInTurn(orm, LogService.method.purgeLogs, subjectOfMany(request), request, purging);
      },
    },
  };
}

function ruleOf({ olderThan, statuses, purposes }: PurgeControllersRequest): Rule {
  return {
    olderThan: wholeSeconds(olderThan!),
    statuses: statuses.length > 0 ? [...new Set(statuses as Status[])] : [Status.FINISHED_ERR, Status.FINISHED_OK],
    ...(purposes.length > 0 && { purposes }),
  };
}

function logRuleOf({ olderThan, backupId }: PurgeLogsRequest): LogRule {
  const age = olderThan ? wholeSeconds(olderThan) : 0n;
  return { olderThan: age === 0n ? undefined : age, ...(backupId && { backupId }) };
}

function wholeSeconds({ seconds, nanos }: Duration): bigint {
  return seconds + (nanos > 0 ? 1n : 0n);
}

/** One at a time: each holds two connections, and as many as the pool has would all wait for their second one. */
function turns(): <T>(work: () => Promise<T>) => Promise<T> {
  let last: Promise<unknown> = Promise.resolve();
  return work => {
    const mine = last.then(work);
    last = mine.catch(() => {});
    return mine;
  };
}

const DEFAULT_MAX = 1000;
const DEFAULT_MAX_ENTRIES = 100_000;
