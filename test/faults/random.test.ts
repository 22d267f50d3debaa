import { strict as assert } from 'node:assert';
import { Dice } from '../support/dice.ts';
import { eventually } from '../support/eventually.ts';
import { RECOVERY_MS } from './cast.ts';
import { canMount, SmallDisk } from './disk.ts';
import { clockFile, FAULTS, missingFaults } from './faults.ts';
import { House } from './house.ts';
import { inject, minutes, seed, tell } from './inject.ts';
import { hasFaketime } from './service-process.ts';
import { Workload } from './workload.ts';

describe('Two replicas and their database under faults', () => {
  it('lose nothing that was acknowledged, double nothing, and recover by themselves', async function () {
    this.timeout(minutes * 60_000 + 600_000);
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
    await using workload = new Workload(house, dice);
    const recovered = () => workload.recovered(performance.now(), RECOVERY_MS);
    await recovered();
    const injected = await inject(kinds, dice, {
      hit: kind => FAULTS[kind]!({ house, disk, dice }, dice.pick(house.replicas)),
      recovered,
    });
    // However slow the machine is: enough for what is lost or doubled to show.
    const faults = [...injected.values()].flat().length;
    await eventually(() => assert.ok(workload.model.acknowledged > 100 * faults, 'hardly anything was done'));
    const outcome = await workload.end();
    tell(injected, outcome);
  });
});
