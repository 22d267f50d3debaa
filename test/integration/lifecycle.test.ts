import { strict as assert } from 'node:assert';
import fc from 'fast-check';
import { startBackend } from '../support/backend.ts';
import { Books } from '../support/lifecycle/books.ts';
import { Play } from '../support/lifecycle/play.ts';
import { life } from '../support/lifecycle/step.ts';

const seed = Number(process.env['LIFECYCLE_SEED'] ?? Date.now() % 1_000_000);
const RUNS = Number(process.env['LIFECYCLE_RUNS'] ?? 2000);
const AT_A_TIME = 16;

describe('The life of a controller', () => {
  it('is what the protocol says, whatever is called in whatever order', async function () {
    this.timeout(180_000);
    await using backend = await startBackend();
    await using books = new Books(backend);
    const met = new Map<string, number>();
    const begun = performance.now();
    const property = fc.asyncProperty(life, async steps => {
      const play = new Play(backend, books);
      for (const step of steps) {
        const how = await play.take(step);
        met.set(how, (met.get(how) ?? 0) + 1);
      }
    });
    // Runs that share nothing, side by side, so that the database and the processor are both busy.
    const lanes = Array.from({ length: AT_A_TIME }, (_, lane) =>
      fc.assert(property, { numRuns: RUNS / AT_A_TIME, seed: seed + lane }),
    );
    await Promise.allSettled(lanes);
    await Promise.all(lanes);
    const steps = met.values().reduce((sum, n) => sum + n, 0);
    console.log(
      `      ${JSON.stringify({ seed, runs: RUNS, steps, seconds: Math.round((performance.now() - begun) / 100) / 10 })}`,
    );
    console.log(process.cpuUsage(), Object.fromEntries([...met].sort()));
    assert.ok(steps > 0);
  });
});
