import { LockMode } from '@mikro-orm/core';
import type { EntityManager, MikroORM } from '@mikro-orm/postgresql';
import type { Pool } from 'pg';
import { follow } from '../automation/follow.ts';
import { isCourseToken } from '../automation/token.ts';
import { Batcher, Lanes } from '../batch.ts';
import { ringChanges, rung, WORK } from '../controller/bell.ts';
import { change, locked, type Which } from '../controller/change.ts';
import { Controller, Execution } from '../controller/entity.ts';
import { claimExclusively } from '../controller/exclusive.ts';
import { refuseUnlessHolder } from '../controller/fence.ts';
import { Outcome, Status } from '../controller/lifecycle.ts';
import { toMessage } from '../controller/message.ts';
import { illegal, kindOf, refuseWhenFinished } from '../controller/transition.ts';
import type { Schedule } from '../course/schedule.ts';
import type { Doorbell } from '../db/doorbell.ts';
import { onCitus } from '../db/engine.ts';
import { onAllNodes } from '../db/shard.ts';
import { type Sql, sqlIn, sqlOn, transaction } from '../db/sql.ts';
import { invalidFields, leaseLost } from '../errors.ts';
import { ControllerService, type Controller as Message } from '../gen/backup/v1/controller_pb.ts';
import type { Handlers } from '../grpc/bind.ts';
import { append, type NewEntry } from '../log/append.ts';
import { sealLog, unsealLog } from '../log/head.ts';
import { Level } from '../log/level.ts';
import type { Keeping } from '../log/message.ts';
import { once, subjectOfMany } from '../request/once.ts';
import { toMillis, toSeconds } from '../timestamps.ts';
import type { Held } from './claim.ts';
import { toClaimed, toFinishResult, toProgressResult, toReport, toSettlement, toWish } from './message.ts';
import { Queue, type QueueOptions } from './queue.ts';
import { type Report, type Reported, report } from './report.ts';
import { givenBack, type Settled, type Settlement, settle, settleWithCourses } from './settle.ts';

type Needs = QueueOptions & {
  orm: MikroORM;
  pool: Pool;
  doorbell: Doorbell;
  keeping: Keeping;
  /** For how long a claim holds that does not say. */
  leaseMs: number;
  /** Of courses that have no schedule of their own. */
  fallback: Schedule | undefined;
};

const { method } = ControllerService;

/** What workers do with controllers, and what is done to their work. */
export function workService(
  needs: Needs,
): Pick<
  Handlers<typeof ControllerService>,
  | 'claimControllers'
  | 'reportProgress'
  | 'finishControllers'
  | 'releaseController'
  | 'cancelController'
  | 'retryController'
> {
  const { orm, pool, doorbell, keeping, fallback } = needs;
  const queue = new Queue(pool, doorbell, needs);
  const limits = {
    probe: needs.probe,
    lanes: 2,
    weight: 64,
    weigh: (items: unknown[]) => items.length,
    most: needs.mostWaiting,
  };
  const reports = new Lanes(limits.lanes, joined<Report, Reported>(report, sqlOn(pool)), { name: 'report', ...limits });
  const settlements = new Batcher(joined<Settlement, Settled>(onCitus() ? settleInOne : settle, sqlOn(pool)), {
    name: 'finish',
    ...limits,
  });

  return {
    async claimControllers(request, context) {
      const wish = toWish(request.filter);
      const one = {
        worker: request.worker,
        most: request.maxControllers || 1,
        leaseMs: request.leaseDuration ? toMillis(request.leaseDuration) : needs.leaseMs,
      };
      const waitMs = request.wait ? toMillis(request.wait) : 0;
      const stop = context.park(waitMs);
      if (request.requestId) {
        const claimOnce = () =>
          once(orm, method.claimControllers, subjectOfMany(request), request, async em => {
            const held = await queue.claimIn(sqlIn(em), wish, one);
            // Nothing was changed, so there is nothing to remember: the same request may find work later.
            if (held.length === 0) throw NOTHING_DUE;
            return toClaimed(held);
          }).catch((error: unknown) => {
            if (error !== NOTHING_DUE) throw error;
            return undefined;
          });
        const answer = (await queue.wait(wish, { waitMs, stop }, claimOnce)) ?? {};
        ringChanges(doorbell, answer.claimed?.map(({ controller }) => controller!.backupId!) ?? []);
        return answer;
      }
      const found = async () => {
        const held = await queue.claim(wish, one, context.signal);
        return held.length > 0 ? held : undefined;
      };
      const held = (await queue.wait(wish, { waitMs, stop }, found)) ?? [];
      if (context.signal.aborted) await giveBack(held);
      ringChanges(
        doorbell,
        held.map(({ backupId }) => backupId),
      );
      return toClaimed(held);
    },

    async reportProgress(request, { signal }) {
      refuseTwice(request.reports, 'reports');
      const wanted = request.reports.map(toReport);
      const toAnswer = (reported: Reported[]) => ({
        results: request.reports.map(({ backupId }, i) => toProgressResult(backupId, reported[i])),
      });
      const answer = request.requestId
        ? await once(orm, method.reportProgress, subjectOfMany(request), request, async em =>
            toAnswer(await report(sqlIn(em), wanted)),
          )
        : toAnswer(await reports.submit(wanted[0]!.backupId, wanted, signal));
      // A lease that was only renewed is nothing to tell.
      const told = answer.results!.filter(({ error }, i) => !error && wanted[i]!.progress !== undefined);
      ringChanges(
        doorbell,
        told.map(({ backupId }) => backupId!),
      );
      return answer;
    },

    async finishControllers(request, { signal }) {
      refuseTwice(request.finishes, 'finishes');
      const wanted = request.finishes.map((finish, i) => toSettlement(finish, `finishes[${i}]`, keeping));
      const toAnswer = (settled: Settled[]) => ({
        results: request.finishes.map(({ backupId }, i) => toFinishResult(backupId, settled[i])),
      });
      const answer = request.requestId
        ? await once(orm, method.finishControllers, subjectOfMany(request), request, async em =>
            toAnswer(await settleWithCourses(sqlIn(em), wanted, fallback)),
          )
        : toAnswer(await settleAll(wanted, signal));
      ringChanges(
        doorbell,
        answer.results!.filter(({ error }) => !error).map(({ backupId }) => backupId!),
      );
      return answer;
    },

    async releaseController(request) {
      const { backupId, leaseToken } = request;
      const releasing = once(orm, method.releaseController, backupId, request, async em => {
        const run = await em.findOne(Controller, backupId, { lockMode: LockMode.PESSIMISTIC_WRITE });
        if (!run) throw leaseLost(backupId);
        refuseUnlessHolder(run, leaseToken);
        const ending =
          run.cancelRequestedAt > 0n
            ? { status: Status.FINISHED_ERR, outcome: Outcome.CANCELLED, entries: [entry(Level.WARNING, 'Cancelled')] }
            : {
                status: Status.AWAITING,
                outcome: 0 as const,
                entries: [],
                executionTime: toSeconds(request.executionTime),
              };
        await settleWithCourses(sqlIn(em), [{ backupId, token: leaseToken, ...ending }], fallback);
        return { controller: toMessage(await em.findOneOrFail(Controller, backupId, { refresh: true })) };
      });
      return rung(doorbell, releasing);
    },

    async cancelController(request) {
      const cancelling = once(orm, method.cancelController, request.backupId, request, async em => {
        const held = await locked(em, request);
        // Not by `changed`: that would be a change, if only of the time of the last one.
        if (held.leaseToken && held.cancelRequestedAt > 0n) return { controller: toMessage(held) };
        return changed(em, request, async run => {
          refuseWhenFinished(run);
          if (run.leaseToken) {
            run.cancelRequestedAt = run.now;
            return log(em, run, Level.INFO, 'Asked to be cancelled', request.reason);
          }
          Object.assign(run, { status: Status.FINISHED_ERR, outcome: Outcome.CANCELLED, endedAt: run.now });
          await log(em, run, Level.WARNING, 'Cancelled', request.reason);
          await sealLog(em, run.backupId);
          await follow(sqlIn(em), [run], fallback);
        });
      });
      return rung(doorbell, cancelling);
    },

    async retryController(request) {
      const retrying = once(orm, method.retryController, request.backupId, request, em =>
        changed(em, request, async run => {
          if (run.status !== Status.FINISHED_ERR) throw illegal(kindOf(run), run.status, Status.AWAITING);
          if (run.exclusive) await claimExclusively(em, run);
          const executionTime = toSeconds(request.executionTime);
          const ofCourse = await follow(sqlIn(em), [{ ...run, status: Status.AWAITING, executionTime }], fallback);
          Object.assign(run, {
            status: Status.AWAITING,
            // What a course has is claimed with it.
            execution: ofCourse ? Execution.IMMEDIATE : Execution.DELAYED,
            executionTime,
            progress: '0',
            outcome: 0,
            lostAttempts: 0,
            cancelRequestedAt: 0n,
            endedAt: 0n,
          });
          await unsealLog(em, run.backupId);
          await log(em, run, Level.INFO, 'To be tried again', '');
        }),
      );
      return rung(doorbell, retrying);
    },
  };

  /** What takes several statements, all or none. */
  function settleInOne(_: Sql, wanted: Settlement[]): Promise<Settled[]> {
    return transaction(pool, sql => settle(sql, wanted));
  }

  /** Course runs in a transaction with their courses; all others share statements. */
  async function settleAll(wanted: Settlement[], signal: AbortSignal): Promise<Settled[]> {
    if (!wanted.some(({ token }) => isCourseToken(token))) return settlements.submit(wanted, signal);
    return transaction(pool, sql => settleWithCourses(sql, wanted, fallback));
  }

  /** Undoes a claim whose caller has gone, so that nobody has to wait for its lease to end. */
  async function giveBack(held: Held[]): Promise<void> {
    if (held.length === 0) return;
    await settlements.submit(held.map(givenBack), undefined, { undoes: true });
    doorbell.ring(WORK);
  }
}

/** Two answers for one controller would contradict each other. (As a rule in CEL this took 29 ms for 1000.) */
function refuseTwice(items: { backupId: string }[], field: string): void {
  if (new Set(items.map(({ backupId }) => backupId)).size === items.length) return;
  throw invalidFields({ field, description: 'must not name a backup id twice' });
}

/** Runs what several calls brought as one. */
function joined<I, O>(run: (sql: Sql, items: I[]) => Promise<O[]>, sql: Sql): (calls: I[][]) => Promise<O[][]> {
  return async calls => {
    const outputs = await run(sql, calls.flat());
    return calls.map(items => outputs.splice(0, items.length));
  };
}

/** Changes a controller under its row's lock, and answers what it is then. */
async function changed(
  em: EntityManager,
  which: Which,
  how: (run: Controller) => void | Promise<void>,
): Promise<{ controller: Message }> {
  return { controller: toMessage(await change(em, which, how)) };
}

async function log(
  em: EntityManager,
  { backupId }: Controller,
  level: number,
  what: string,
  why: string,
): Promise<void> {
  await onAllNodes(sqlIn(em));
  await append(sqlIn(em), backupId, [entry(level, why ? `${what}: ${why}` : what)]);
}

function entry(level: number, message: string): NewEntry {
  return { level, message, at: undefined };
}

const NOTHING_DUE = new Error('nothing is due');
