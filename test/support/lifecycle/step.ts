import fc from 'fast-check';
import { Execution, Operation, Outcome, Status } from '../../../src/gen/backup/v1/controller_pb.ts';
import type { Kind } from './model.ts';

/** Which lease token a call is made with: that of the holder, one that was good once, or one that never was. */
export type Which = 'right' | 'old' | 'unknown';

/**
 * One call, as far as it can be said before it is known where the run is then: a `status` or `to` below 100 is a place among those that are
 * legal.
 */
export type Step =
  | { call: 'create'; kind: Kind; status: number; later: boolean }
  /** From where it is, when `from` is undefined. */
  | { call: 'transition'; from: Status | undefined; to: number; stale: boolean }
  | { call: 'claim' }
  | { call: 'report'; token: Which; progress: number | undefined; reset: boolean }
  | { call: 'append'; token: Which | undefined }
  | { call: 'finish'; token: Which; outcome: Outcome }
  /** Workers that have lost it and the one that holds it, all at the same time. */
  | { call: 'finishTogether'; outcome: Outcome }
  | { call: 'release'; token: Which; later: boolean }
  | { call: 'lose' }
  | { call: 'cancel'; stale: boolean }
  | { call: 'retry'; later: boolean; stale: boolean }
  | { call: 'update'; progress: number; stale: boolean }
  | { call: 'delete'; force: boolean; stale: boolean };

const statuses = Object.values(Status).filter(value => value !== Status.UNSPECIFIED);
const outcomes = [Outcome.SUCCEEDED, Outcome.SUCCEEDED_WITH_WARNINGS, Outcome.FAILED];

const rarely = fc.nat(9).map(n => n === 9);
const status = fc.constantFrom(...statuses);
const outcome = fc.constantFrom(...outcomes);
const progress = fc.nat(1000).map(n => n / 1000);
const token = often<Which>([6, fc.constant('right')], [2, fc.constant('old')], [1, fc.constant('unknown')]);

const kind = fc.record({
  operation: fc.constantFrom(Operation.BACKUP, Operation.RESTORE),
  interactive: fc.boolean(),
  execution: often<Execution>([8, fc.constant(Execution.DELAYED)], [1, fc.constant(Execution.IMMEDIATE)]),
  maxAttempts: fc.integer({ min: 1, max: 3 }),
});

const creation = (status: fc.Arbitrary<number>) =>
  fc.record({ call: fc.constant('create' as const), kind, status, later: rarely });

const transition = fc.record({
  call: fc.constant('transition' as const),
  from: often<Status | undefined>([8, fc.constant(undefined)], [1, status]),
  to: often<number>([4, fc.nat(2)], [1, status]),
  stale: rarely,
});

const claim = fc.constant({ call: 'claim' as const });

/** What a worker writes while it works. */
const work = often<Step>(
  [
    4,
    fc.record({
      call: fc.constant('report' as const),
      token,
      progress: fc.option(progress, { nil: undefined }),
      reset: rarely,
    }),
  ],
  [3, fc.record({ call: fc.constant('append' as const), token: fc.option(token, { nil: undefined }) })],
);

/** How the work ends. */
const ending = often<Step>(
  [3, fc.record({ call: fc.constant('finish' as const), token, outcome })],
  [1, fc.record({ call: fc.constant('finishTogether' as const), outcome })],
  [2, fc.record({ call: fc.constant('release' as const), token, later: rarely })],
  [3, fc.constant({ call: 'lose' as const })],
);

const retry = fc.record({ call: fc.constant('retry' as const), later: rarely, stale: rarely });

/** What is done with a run that nobody holds, mostly. */
const ofOthers = often<Step>(
  [5, transition],
  [2, fc.record({ call: fc.constant('cancel' as const), stale: rarely })],
  [3, retry],
  [2, fc.record({ call: fc.constant('update' as const), progress, stale: rarely })],
  [1, fc.record({ call: fc.constant('delete' as const), force: fc.boolean(), stale: rarely })],
  [1, creation(status)],
);

/** A run from its claim to the end of that attempt, and perhaps put back into the queue before. */
const held = fc
  .tuple(
    often<Step[]>([2, fc.constant([])], [1, fc.tuple(retry)]),
    claim,
    fc.array(often<Step>([3, work], [1, ofOthers]), { maxLength: 2 }),
    ending,
  )
  .map(([before, first, rest, last]): Step[] => [...before, first, ...rest, last]);

const anything = often<Step>([6, ofOthers], [1, work], [1, ending], [1, claim]).map(step => [step]);

const chapter = often<Step[]>([1, held], [1, anything]);

/** The life of one run: its creation, and what comes after. */
export const life: fc.Arbitrary<Step[]> = fc
  .tuple(
    creation(often<number>([4, fc.constant(Status.AWAITING)], [1, fc.nat(7)])),
    // Most lives are short, so that there are many.
    often<Step[][]>([3, chapters(1, 2)], [1, chapters(3, 5)]),
  )
  .map(([first, chapters]) => [first, ...chapters.flat()]);

function chapters(minLength: number, maxLength: number): fc.Arbitrary<Step[][]> {
  return fc.array(chapter, { minLength, maxLength, size: 'max' });
}

function often<T>(...choices: [weight: number, arbitrary: fc.Arbitrary<T>][]): fc.Arbitrary<T> {
  return fc.oneof(...choices.map(([weight, arbitrary]) => ({ weight, arbitrary })));
}
