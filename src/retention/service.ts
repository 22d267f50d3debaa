import { createHash } from 'node:crypto';
import type { MikroORM } from '@mikro-orm/postgresql';
import type { Pool } from 'pg';
import { Status } from '../controller/lifecycle.ts';
import type { Doorbell } from '../db/doorbell.ts';
import { sqlOn } from '../db/sql.ts';
import { ControllerService, type PurgeControllersRequest } from '../gen/backup/v1/controller_pb.ts';
import type { Handlers } from '../grpc/bind.ts';
import { once } from '../request/once.ts';
import { purge, type Rule, wouldPurge } from './purge.ts';

const { method } = ControllerService;

export function retentionService({
  orm,
  pool,
  doorbell,
}: {
  orm: MikroORM;
  pool: Pool;
  doorbell: Doorbell;
}): Pick<Handlers<typeof ControllerService>, 'purgeControllers'> {
  const inTurn = turns();
  return {
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
      // The batches run on other connections while this transaction holds the row of the request, for which a duplicate waits. If it ends
      // without an answer, what was deleted stays deleted, and the same request sent again goes on from there.
      const subject = createHash('md5').update(request.requestId).digest('hex');
      return inTurn(() => once(orm, method.purgeControllers, subject, request, purging));
    },
  };
}

function ruleOf({ olderThan, statuses, purposes }: PurgeControllersRequest): Rule {
  const { seconds, nanos } = olderThan!;
  return {
    olderThan: seconds + (nanos > 0 ? 1n : 0n),
    statuses: statuses.length > 0 ? [...new Set(statuses as Status[])] : [Status.FINISHED_ERR, Status.FINISHED_OK],
    ...(purposes.length > 0 && { purposes }),
  };
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
