import { strict as assert } from 'node:assert';
import { randomUUID } from 'node:crypto';
import type { ServiceError } from '@grpc/grpc-js';
import { type ErrorReason, reasonName } from '../../../src/errors.ts';
import {
  type Controller,
  Outcome,
  Purpose,
  Status,
  StatusSchema,
  Type,
} from '../../../src/gen/backup/v1/controller_pb.ts';
import { LogLevel } from '../../../src/gen/backup/v1/entry_pb.ts';
import type { Replica } from '../backend.ts';
import { detailsOf } from '../status.ts';
import { newBackupId } from '../writing.ts';
import type { Books, Seen } from './books.ts';
import { type Look, Model, statusesOf, type Verdict } from './model.ts';
import type { Step, Which } from './step.ts';

/** What an answer says of the run; what it does not say is undefined. */
type Told = {
  controller?: Controller | undefined;
  status?: Status;
  outcome?: Outcome;
  progress?: number;
  cancelRequested?: boolean;
  sealedId?: bigint;
};

/** One run, over the wire and in the model at the same time. */
export class Play {
  readonly #replica: Pick<Replica, 'controllers' | 'logs'>;
  readonly #books: Books;
  readonly #model = new Model();
  readonly #backupId = newBackupId();
  /** No other run has it, so that a claim with it gets this one or none. */
  readonly #format = this.#backupId.slice(0, 20);
  readonly #tokens: string[] = [];
  #seen: Seen | undefined;

  constructor(replica: Pick<Replica, 'controllers' | 'logs'>, books: Books) {
    this.#replica = replica;
    this.#books = books;
  }

  /** Makes the call, and fails unless it is answered, and the run looks afterwards, as the model says. Returns how it was answered. */
  async take(step: Step): Promise<string> {
    const before = structuredClone(this.#model.look);
    const next = this.#model.next();
    const { verdict, call } = this.#plan(step);
    const { reason, told, legal } = await call().then(told => ({ reason: 'OK', told, legal: undefined }), refusalOf);
    assert.ok(verdict === 'OK' ? reason === 'OK' : verdict.includes(reason), `${reason}, not ${verdict}`);
    if (legal && step.call === 'transition')
      assert.deepEqual(
        legal,
        next.map(status => StatusSchema.value[status]!.localName),
      );
    const seen = await this.#books.read(this.#backupId);
    const expected = this.#model.look;
    assert.deepEqual(seen && lookOf(seen), expected);
    if (seen) compareSeal(seen, this.#seen);
    if (seen && told) compareAnswer(told, seen);
    if (seen && this.#seen && before) {
      const same = verdict !== 'OK' || step.call === 'report' || step.call === 'append';
      if (same) assert.equal(seen.controller.etag, this.#seen.controller.etag, 'the etag has changed');
      else if (JSON.stringify(before) !== JSON.stringify(expected)) {
        assert.notEqual(seen.controller.etag, this.#seen.controller.etag, 'the etag has not changed');
      }
    }
    this.#seen = seen;
    return `${step.call} ${told === undefined && reason === 'OK' ? 'done' : reason}`;
  }

  #plan(step: Step): { verdict: Verdict; call: () => Promise<Told | undefined> } {
    const { controllers, logs } = this.#replica;
    const model = this.#model;
    const backupId = this.#backupId;
    const etag = 'stale' in step && step.stale ? 'old' : '';
    /** A call with an old etag is refused, if there is a controller at all. */
    const unlessStale = (verdict: () => Verdict) => (etag && model.look ? ['ETAG_MISMATCH'] : verdict());
    switch (step.call) {
      case 'create': {
        const { kind, later } = step;
        const status = pick(step.status, statusesOf(kind));
        const wait = later && kind.execution === 2;
        const more = wait ? { executionTime: LATER } : {};
        const request = { ...kind, ...more, status, backupId, type: Type.COURSE, purpose: Purpose.GENERAL };
        return {
          verdict: model.create(kind, status, wait),
          call: () => controllers.createController({ ...request, format: this.#format, payload: Buffer.from('p') }),
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
          const request = { worker: 'w', maxControllers: 2, filter: { format: this.#format } };
          const { claimed } = await controllers.claimControllers(request);
          assert.equal(claimed.length, gets ? 1 : 0, 'claimed');
          this.#tokens.push(...claimed.map(({ leaseToken }) => leaseToken));
          return claimed[0];
        };
        return { verdict: 'OK', call };
      }
      case 'report': {
        const { progress, reset } = step;
        const [n, leaseToken] = this.#token(step.token);
        const report = { backupId, leaseToken, reset, ...(progress !== undefined && { progress }) };
        return {
          verdict: model.report(n, progress, reset),
          call: async () => succeeded((await controllers.reportProgress({ reports: [report] })).results[0]!),
        };
      }
      case 'append': {
        const [n, leaseToken] = step.token ? this.#token(step.token) : [undefined, ''];
        const call = async () => {
          await logs.appendLogs({ backupId, leaseToken, entries: [LINE] });
          return undefined;
        };
        return { verdict: model.append(n), call };
      }
      case 'finish': {
        const [n, leaseToken] = this.#token(step.token);
        return { verdict: model.finish(n, step.outcome), call: () => this.#finish(leaseToken, step.outcome) };
      }
      case 'finishTogether': {
        const [wrong, right] = [this.#token('old')[1], this.#token('right')];
        const call = async () => {
          const late = [1, 2, 3].map(() => this.#finish(wrong, Outcome.SUCCEEDED));
          const all = await Promise.allSettled([...late, this.#finish(right[1], step.outcome)]);
          const told = all.pop()!;
          for (const one of all) assert.equal(one.status === 'rejected' && refusalOf(one.reason).reason, 'LEASE_LOST');
          if (told.status === 'rejected') throw told.reason;
          return told.value;
        };
        return { verdict: model.finish(right[0], step.outcome), call };
      }
      case 'release': {
        const [n, leaseToken] = this.#token(step.token);
        const more = step.later ? { executionTime: LATER } : {};
        return {
          verdict: model.release(n, step.later),
          call: () => controllers.releaseController({ backupId, leaseToken, ...more }),
        };
      }
      case 'lose': {
        if (model.holder === undefined) return { verdict: 'OK', call: async () => undefined };
        model.lose();
        return { verdict: 'OK', call: () => this.#books.lose(backupId).then(() => undefined) };
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
  #token(which: Which): [number, string] {
    const { holder } = this.#model;
    const last = this.#tokens.length - 1;
    const n = which === 'unknown' ? -1 : which === 'right' ? (holder ?? last) : holder === last ? last - 1 : last;
    const token = this.#tokens[n];
    return token ? [n, n % 2 === 1 ? token.toUpperCase() : token] : [-1, randomUUID()];
  }

  async #finish(leaseToken: string, outcome: Outcome): Promise<Told> {
    const reason = outcome === Outcome.FAILED ? 'why' : '';
    const finish = { backupId: this.#backupId, leaseToken, outcome, reason, entries: [LINE] };
    return succeeded((await this.#replica.controllers.finishControllers({ finishes: [finish] })).results[0]!);
  }
}

const LATER = { seconds: 4_000_000_000n };

const LINE = { level: LogLevel.WARNING, message: 'line' };

/** A status, or the one that has this place among the legal ones; there may be none. */
function pick(number: number, legal: Status[]): Status {
  return number >= 100 ? (number as Status) : (legal[number % legal.length] ?? Status.FINISHED_OK);
}

function lookOf({ controller, payload, sealedId, warnings }: Seen): Look {
  const { status, outcome, execution, attempt, lostAttempts, progress } = controller;
  const { lease, cancelRequestTime, startTime, endTime } = controller;
  return {
    ...{ status, outcome, execution, attempt, lostAttempts, progress },
    leased: lease !== undefined,
    cancelRequested: cancelRequestTime !== undefined,
    started: startTime !== undefined,
    ended: endTime !== undefined,
    payload,
    sealed: sealedId !== undefined,
    warnings,
  };
}

/** The seal is the last entry of the moment in which the run ended, and stays there. */
function compareSeal({ sealedId, lastId }: Seen, before: Seen | undefined): void {
  if (sealedId !== undefined) assert.equal(sealedId, before?.sealedId ?? lastId, 'the seal');
}

function compareAnswer({ controller, ...told }: Told, seen: Seen): void {
  if (controller) assert.deepEqual(controller, seen.controller);
  const { status, outcome, progress, cancelRequestTime } = seen.controller;
  const truth = {
    status,
    outcome,
    progress,
    cancelRequested: cancelRequestTime !== undefined,
    sealedId: seen.sealedId,
  };
  for (const name of Object.keys(truth) as (keyof typeof truth)[]) {
    if (told[name] !== undefined) assert.equal(told[name], truth[name], name);
  }
}

type Refusal = { reason: string; told: undefined; legal: string[] | undefined };

/** What a call was refused with, and the steps that it says are legal. */
function refusalOf(error: ServiceError | Refused): Refusal {
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
