import { strict as assert } from 'node:assert';
import fc from 'fast-check';
import { startBackend } from '../support/backend.ts';
import { Books } from '../support/lifecycle/books.ts';
import { Play } from '../support/lifecycle/play.ts';
import { life } from '../support/lifecycle/step.ts';

// The seed that a failure names, in this variable, makes the same lives in the same order.
const seed = Number(process.env['LIFECYCLE_SEED'] ?? Date.now() % 1_000_000);
const LIVES = Number(process.env['LIFECYCLE_LIVES'] ?? 1000);
const AT_A_TIME = 40;

describe('The life of a controller', () => {
  it('is what the protocol says, whatever is called in whatever order', async () => {
    // Each step that changes a run is a transaction of several nodes there.
    await using backend = await startBackend();
    await using books = new Books(backend);
    const met = new Map<string, number>();
    const property = fc.asyncProperty(life, async steps => {
      const play = new Play(backend, books);
      for (const [i, step] of steps.entries()) {
        const how = await play.take(step).catch((error: Error) => {
          error.message = `step ${i + 1} of ${steps.length}, ${JSON.stringify(step)}: ${error.message}`;
          throw error;
        });
        met.set(how, (met.get(how) ?? 0) + 1);
      }
    });
    const begun = performance.now();
    // They share nothing, so they may go side by side: while one waits for the database another one has the processor.
    const lanes = Array.from({ length: AT_A_TIME }, (_, lane) =>
      fc.assert(property, { numRuns: LIVES / AT_A_TIME, seed: seed + lane, includeErrorInReport: true }),
    );
    await Promise.allSettled(lanes);
    await Promise.all(lanes);
    const seconds = Math.round((performance.now() - begun) / 100) / 10;
    const steps = met.values().reduce((sum, n) => sum + n, 0);
    console.log(`      ${JSON.stringify({ seed, lives: LIVES, steps, seconds })}`);
    // Each of these is rare in a single life. A generator that no longer gets there would prove nothing.
    for (const how of answers) assert.ok(met.has(how), `never met: ${how}`);
  });
});

const answers = [
  'create OK',
  'create INVALID_FIELD',
  'create CONTROLLER_EXISTS',
  'transition OK',
  'transition ILLEGAL_TRANSITION',
  'transition STATUS_CHANGED',
  'transition CONTROLLER_LEASED',
  'claim OK',
  'claim done',
  'report OK',
  'report LEASE_LOST',
  'append done',
  'append LEASE_LOST',
  'finish OK',
  'finish LEASE_LOST',
  'finishTogether OK',
  'release OK',
  'release LEASE_LOST',
  'lose done',
  'cancel OK',
  'cancel CONTROLLER_FINISHED',
  'cancel ETAG_MISMATCH',
  'retry OK',
  'retry ILLEGAL_TRANSITION',
  'update OK',
  'update CONTROLLER_FINISHED',
  'update CONTROLLER_LEASED',
  'delete done',
  'delete CONTROLLER_LEASED',
];
