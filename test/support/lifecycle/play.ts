import { strict as assert } from 'node:assert';
import { isDeepStrictEqual } from 'node:util';
import { StatusSchema } from '../../../src/gen/backup/v1/controller_pb.ts';
import type { Replica } from '../backend.ts';
import { newBackupId } from '../writing.ts';
import type { Books, Seen } from './books.ts';
import { plan, refusalOf, type Scene, type Told } from './calls.ts';
import { type Look, Model } from './model.ts';
import type { Step } from './step.ts';

/** One run, over the wire and in the model at the same time. */
export class Play {
  readonly #scene: Scene;
  #seen: Seen | undefined;

  constructor(replica: Pick<Replica, 'controllers' | 'logs'>, books: Books) {
    this.#scene = { replica, books, model: new Model(), backupId: newBackupId(), tokens: [] };
  }

  /** Makes the call, and fails unless it is answered, and the run looks afterwards, as the model says. Returns how it was answered. */
  async take(step: Step): Promise<string> {
    const { books, model, backupId } = this.#scene;
    const before = structuredClone(model.look);
    const next = model.next().map(status => StatusSchema.value[status]!.localName);
    const { verdict, call } = plan(step, this.#scene);
    const { reason, told, legal } = await call().then(told => ({ reason: 'OK', told, legal: undefined }), refusalOf);
    assert.ok(verdict === 'OK' ? reason === 'OK' : verdict.includes(reason), `${reason}, not ${verdict}`);
    if (legal && step.call === 'transition') assert.deepEqual(legal, next);
    const seen = await books.read(backupId);
    assert.deepEqual(seen && lookOf(seen), model.look);
    if (seen) compareSeal(seen, this.#seen);
    if (seen && told) compareAnswer(told, seen);
    if (seen && this.#seen && before && model.look) {
      const untouched = verdict !== 'OK' || step.call === 'report' || step.call === 'append';
      const again = step.call === 'cancel' && before.cancelRequested;
      if (untouched || again) assert.equal(seen.controller.etag, this.#seen.controller.etag, 'the etag has changed');
      else if (!isDeepStrictEqual(before, model.look)) {
        assert.notEqual(seen.controller.etag, this.#seen.controller.etag, 'the etag has not changed');
      }
    }
    this.#seen = seen;
    return `${step.call} ${reason === 'OK' && !told ? 'done' : reason}`;
  }
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
