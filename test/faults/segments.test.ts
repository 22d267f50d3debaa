import { strict as assert } from 'node:assert';
import { Dice } from '../support/dice.ts';
import { startS3 } from '../support/s3.ts';
import { StoreWay } from '../support/store-way.ts';
import { RECOVERY_MS } from './cast.ts';
import { House } from './house.ts';
import { inject, minutes, seed, tell } from './inject.ts';
import { Books, BUCKET } from './segments/books.ts';
import { MOVING_FAULTS } from './segments/faults.ts';
import { OLD } from './segments/runs.ts';
import { MovingWorkload } from './segments/workload.ts';

const settings = {
  SEGMENT_AFTER: '1s',
  SEGMENT_INTERVAL: '50ms',
  SEGMENT_BYTES: '2048',
  LOG_RETENTION: `${OLD}s`,
  RETENTION_INTERVAL: '200ms',
  TAIL_OUTAGE: '3s',
};

describe('Two replicas that move logs to a store, under faults', () => {
  it('lose and double no entry, leave no object behind, and recover by themselves', async function () {
    this.timeout(minutes * 60_000 + 600_000);
    console.log(`      FAULT_SEED=${seed}`);
    const dice = new Dice(seed);
    await using s3 = await startS3(BUCKET);
    await using one = await StoreWay.start(s3.endpoint);
    await using other = await StoreWay.start(s3.endpoint);
    await using house = await House.open(
      { settings: { ...settings, ...one.settings(BUCKET) } },
      { settings: { ...settings, ...other.settings(BUCKET), SEGMENT_CACHE_BYTES: '0' } },
    );
    const ways = [one, other];
    await using workload = new MovingWorkload(house, ways, await Books.open(house, s3), dice);
    const recovered = () => workload.recovered(performance.now(), RECOVERY_MS);
    await recovered();
    const injected = await inject(Object.keys(MOVING_FAULTS), dice, {
      hit: kind => MOVING_FAULTS[kind]!({ house, ways, dice }),
      recovered,
    });
    const outcome = await workload.end();
    const faults = tell(injected, outcome);
    assert.ok(outcome.segments > 2 * faults, 'hardly anything was moved');
  });
});
