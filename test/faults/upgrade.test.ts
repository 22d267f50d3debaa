import { strict as assert } from 'node:assert';
import { Dice } from '../support/dice.ts';
import { eventually } from '../support/eventually.ts';
import { RECOVERY_MS } from './cast.ts';
import { House } from './house.ts';
import { versionBefore } from './other-version.ts';
import { Workload } from './workload.ts';

const before = await versionBefore();
if (!before) console.warn('left out: the upgrade, because the history of the repository is not there');

if (before)
  describe('A rolling upgrade', () => {
    after(() => before[Symbol.dispose]());

    it('from the version before the newest migration loses and doubles nothing, while both versions serve', async () => {
      const { sources } = before;
      await using house = await House.open({ sources }, { sources });
      const migrations = async () => (await house.database.query('select name from backup_migrations')).length;
      const old = await migrations();
      await using workload = new Workload(house, new Dice(1));
      await workload.recovered(performance.now(), RECOVERY_MS);
      const times = [];
      for (const replica of house.replicas) {
        await replica.end('SIGTERM');
        await replica.serve({});
        times.push(Math.round(await workload.recovered(performance.now(), RECOVERY_MS)));
        assert.equal(await migrations(), old + 1);
        // Both versions serve for a while, and then the new one alone.
        const { acknowledged } = workload.model;
        await eventually(() => assert.ok(workload.model.acknowledged > acknowledged + 300));
        await workload.recovered(performance.now(), RECOVERY_MS);
      }
      const outcome = await workload.end();
      console.log(`      ${JSON.stringify({ from: before.commit?.slice(0, 7), recoveryMs: times, ...outcome })}`);
    });
  });
