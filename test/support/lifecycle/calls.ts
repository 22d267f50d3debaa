import { strict as assert } from 'node:assert';
import { randomUUID } from 'node:crypto';
import type { ServiceError } from '@grpc/grpc-js';
import { type ErrorReason, reasonName } from '../../../src/errors.ts';
import {
  type Controller,
  Execution,
  Outcome,
  Purpose,
  Status,
  Type,
} from '../../../src/gen/backup/v1/controller_pb.ts';
import { LogLevel } from '../../../src/gen/backup/v1/entry_pb.ts';
import type { Replica } from '../backend.ts';
import { detailsOf } from '../status.ts';
import type { Books } from './books.ts';
import { type Model, statusesOf, type Verdict } from './model.ts';
import type { Step, Which } from './step.ts';

/** A run, really and in the model, with all tokens that were given for it. No other run has its format: a claim with it gets this one or none. */
export type Scene = {
  replica: Pick<Replica, 'controllers' | 'logs'>;
  books: Books;
  model: Model;
  backupId: string;
  tokens: string[];
};

/** What an answer says of the run; what it does not say is undefined. */
export type Told = {
  controller?: Controller | undefined;
  status?: Status;
  outcome?: Outcome;
  progress?: number;
  cancelRequested?: boolean;
  sealedId?: bigint;
};

/**
 * Lets the model answer first, which knows then what comes of it, and says how to make the call over the wire. A call with an old etag is
 * refused for that, whatever else is wrong with it, if there is a controller at all.
 */
export function plan(step: Step, scene: Scene): { verdict: Verdict; call: () => Promise<Told | undefined> } {
  const { replica, books, model, backupId, tokens } = scene;
  const { controllers, logs } = replica;
  const format = backupId.slice(0, 20);
  const etag = 'stale' in step && step.stale ? 'old' : '';
  const unlessStale = (verdict: () => Verdict) => (etag && model.look ? ['ETAG_MISMATCH'] : verdict());
  switch (step.call) {
    case 'create': {
      const { kind, later } = step;
      const status = pick(step.status, statusesOf(kind));
      const wait = later && kind.execution === Execution.DELAYED;
      const more = wait ? { executionTime: LATER } : {};
      const request = { ...kind, ...more, status, backupId, type: Type.COURSE, purpose: Purpose.GENERAL };
      return {
        verdict: model.create(kind, status, wait),
        call: () => controllers.createController({ ...request, format, payload: Buffer.from('p') }),
      };
    }
    case 'transition': {
      const from = step.from ?? model.look?.status ?? Status.CREATED;
      const to = pick(step.to, model.next());
      return {
        verdict: unlessStale(() => model.transition(from, to)),
        call: () => controllers.transitionController({ backupId, from, to, etag }),
      };
    }
    case 'claim': {
      const gets = model.claim();
      const call = async () => {
        const request = { worker: 'w', maxControllers: 2, filter: { format } };
        const { claimed } = await controllers.claimControllers(request);
        assert.equal(claimed.length, gets ? 1 : 0, 'claimed');
        tokens.push(...claimed.map(({ leaseToken }) => leaseToken));
        return claimed[0];
      };
      return { verdict: 'OK', call };
    }
    case 'report': {
      const { progress, reset } = step;
      const [n, leaseToken] = tokenOf(step.token, scene);
      const report = { backupId, leaseToken, reset, ...(progress !== undefined && { progress }) };
      return {
        verdict: model.report(n, progress, reset),
        call: async () => succeeded((await controllers.reportProgress({ reports: [report] })).results[0]!),
      };
    }
    case 'append': {
      const [n, leaseToken] = step.token ? tokenOf(step.token, scene) : [undefined, ''];
      const call = async () => {
        await logs.appendLogs({ backupId, leaseToken, entries: [LINE] });
        return undefined;
      };
      return { verdict: model.append(n), call };
    }
    case 'finish': {
      const [n, leaseToken] = tokenOf(step.token, scene);
      return { verdict: model.finish(n, step.outcome), call: () => finish(scene, leaseToken, step.outcome) };
    }
    case 'finishTogether': {
      const [wrong, right] = [tokenOf('old', scene)[1], tokenOf('right', scene)];
      const call = async () => {
        const late = [1, 2, 3].map(() => finish(scene, wrong, Outcome.SUCCEEDED));
        const all = await Promise.allSettled([...late, finish(scene, right[1], step.outcome)]);
        const told = all.pop()!;
        for (const one of all) assert.equal(one.status === 'rejected' && refusalOf(one.reason).reason, 'LEASE_LOST');
        if (told.status === 'rejected') throw told.reason;
        return told.value;
      };
      return { verdict: model.finish(right[0], step.outcome), call };
    }
    case 'release': {
      const [n, leaseToken] = tokenOf(step.token, scene);
      const more = step.later ? { executionTime: LATER } : {};
      return {
        verdict: model.release(n, step.later),
        call: () => controllers.releaseController({ backupId, leaseToken, ...more }),
      };
    }
    case 'lose': {
      if (model.holder === undefined) return { verdict: 'OK', call: async () => undefined };
      model.lose();
      return { verdict: 'OK', call: () => books.lose(backupId).then(() => undefined) };
    }
    case 'cancel':
      return {
        verdict: unlessStale(() => model.cancel()),
        call: () => controllers.cancelController({ backupId, etag }),
      };
    case 'retry': {
      const more = step.later ? { executionTime: LATER } : {};
      return {
        verdict: unlessStale(() => model.retry(step.later)),
        call: () => controllers.retryController({ backupId, etag, ...more }),
      };
    }
    case 'update': {
      const change = { controller: { progress: step.progress }, updateMask: { paths: ['progress'] } };
      return {
        verdict: unlessStale(() => model.update(step.progress)),
        call: () => controllers.updateController({ backupId, etag, ...change }),
      };
    }
    case 'delete': {
      const call = async () => {
        await controllers.deleteController({ backupId, etag, force: step.force });
        return undefined;
      };
      return { verdict: unlessStale(() => model.delete(step.force)), call };
    }
  }
}

/** A token, and its number among those that were given; a token in capitals is the same token. */
function tokenOf(which: Which, { model: { holder }, tokens }: Scene): [number, string] {
  const last = tokens.length - 1;
  const n = which === 'unknown' ? -1 : which === 'right' ? (holder ?? last) : holder === last ? last - 1 : last;
  const token = tokens[n];
  return token ? [n, n % 2 === 1 ? token.toUpperCase() : token] : [-1, randomUUID()];
}

async function finish({ replica, backupId }: Scene, leaseToken: string, outcome: Outcome): Promise<Told> {
  const reason = outcome === Outcome.FAILED ? 'why' : '';
  const finish = { backupId: backupId, leaseToken, outcome, reason, entries: [LINE] };
  return succeeded((await replica.controllers.finishControllers({ finishes: [finish] })).results[0]!);
}

const LATER = { seconds: 4_000_000_000n };

const LINE = { level: LogLevel.WARNING, message: 'line' };

/** A status, or the one that has this place among the legal ones; there may be none. */
function pick(number: number, legal: Status[]): Status {
  return number >= 100 ? (number as Status) : (legal[number % legal.length] ?? Status.FINISHED_OK);
}

export type Refusal = { reason: string; told: undefined; legal: string[] | undefined };

/** What a call was refused with, and the steps that it says are legal. */
export function refusalOf(error: ServiceError | Refused): Refusal {
  if (error instanceof Refused) return { reason: error.message, told: undefined, legal: undefined };
  if (!error.metadata) throw error;
  const { info, preconditions } = detailsOf(error.metadata);
  const legal = preconditions?.violations.map(({ subject }) => subject);
  return { reason: info!.reason, told: undefined, legal };
}

/** Refused in the result for one of many. */
class Refused extends Error {}

function succeeded<R extends { error?: { reason: ErrorReason } | undefined }>(result: R): R {
  if (!result.error) return result;
  throw new Refused(reasonName(result.error.reason));
}
