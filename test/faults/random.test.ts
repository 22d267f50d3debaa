import { strict as assert } from 'node:assert';
import { setTimeout as delay } from 'node:timers/promises';
import { Dice } from '../support/dice.ts';
import { canMount, SmallDisk } from './disk.ts';
import { clockFile, FAULTS, missingFaults } from './faults.ts';
import { House } from './house.ts';
import { hasFaketime } from './service-process.ts';
import { Workload } from './workload.ts';

// The same seed makes the same faults in the same order; when they hit is up to the machine.
const seed = Number(process.env['FAULT_SEED'] ?? Date.now() % 1_000_000);
/** How long faults are injected; without it, each kind once. */
const minutes = Number(process.env['FAULT_MINUTES'] ?? 0);
/** Within which everybody has an answer again after a fault has ended: a call that hangs takes CALL_TIMEOUT (2 s here) and a second. */
const RECOVERY_MS = 15_000;

describe('Two replicas and their database under faults', () => {
  it('lose nothing that was acknowledged, double nothing, and recover by themselves', async function () {
    this.timeout(minutes * 60_000 + 180_000);
    console.log(`      FAULT_SEED=${seed}`);
    const dice = new Dice(seed);
    await using house = await House.open({}, {});
    if (hasFaketime) {
      await house.replicas[0]!.end('SIGTERM');
      await house.replicas[0]!.serve({ clockFile: clockFile(house) });
    }
    using disk = canMount ? await SmallDisk.mount(house, 512) : undefined;
    const missing = missingFaults({ disk });
    for (const [kind, reason] of Object.entries(missing)) console.warn(`      left out: ${kind}, because ${reason}`);
    const kinds = Object.keys(FAULTS).filter(kind => !(kind in missing));
    const only = process.env['FAULT_KINDS']?.split(',');
    await using workload = new Workload(house, dice);
    await workload.recovered(performance.now(), RECOVERY_MS);

    const injected: Record<string, number[]> = {};
    const end = performance.now() + minutes * 60_000;
    for (let left = shuffled(only ?? kinds, dice); left.length > 0; ) {
      const kind = left.pop()!;
      const replica = dice.pick(house.replicas);
      await FAULTS[kind]!({ house, disk, dice }, replica);
      const ms = await workload.recovered(performance.now(), RECOVERY_MS).catch((error: Error) => {
        error.message = `after ${kind}: ${error.message}`;
        throw error;
      });
      injected[kind] = [...(injected[kind] ?? []), Math.round(ms)];
      await delay(dice.below(300));
      if (left.length === 0 && performance.now() < end) left = shuffled(only ?? kinds, dice);
    }
    const outcome = await workload.end();
    const times = Object.values(injected)
      .flat()
      .toSorted((a, b) => a - b);
    const recovery = { p50: times[Math.floor(times.length / 2)], max: times.at(-1) };
    console.log(`      ${JSON.stringify({ seed, faults: times.length, recoveryMs: recovery, ...outcome })}`);
    for (const [kind, ms] of Object.entries(injected))
      console.log(`      ${kind}: ${ms.length}, recovered after ${Math.max(...ms)} ms at most`);
    assert.ok(outcome.acknowledged > 100 * times.length, 'hardly anything was done');
  });
});

function shuffled<T>(all: T[], dice: Dice): T[] {
  const left = [...all];
  return all.map(() => left.splice(dice.below(left.length), 1)[0]!);
}
