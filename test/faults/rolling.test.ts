import { strict as assert } from 'node:assert';
import { setTimeout as delay } from 'node:timers/promises';
import { freePort } from '../../src/db/embedded.ts';
import { Dice } from '../support/dice.ts';
import { eventually } from '../support/eventually.ts';
import { Subscriber } from '../support/subscriber.ts';
import { newBackupId } from '../support/writing.ts';
import { BALANCERS, type Balancer, type BalancerName, hasBalancer, startBalancer } from './balancer.ts';
import { House } from './house.ts';
import { Workload } from './workload.ts';

const seed = Number(process.env['FAULT_SEED'] ?? Date.now() % 1_000_000);
/** How often each replica is restarted. */
const rounds = Number(process.env['ROLLING_ROUNDS'] ?? 1);

for (const name of Object.keys(BALANCERS) as BalancerName[]) {
  describe(`Three replicas behind ${name}`, function () {
    this.timeout(rounds * 60_000 + 600_000);

    before(function () {
      if (hasBalancer(name)) return;
      console.warn(`      left out: ${name} is not installed`);
      this.skip();
    });

    it('are restarted one after another under load: nothing acknowledged is lost or doubled, streams go on elsewhere', async () => {
      await using behind = await startBehind(name, { SHUTDOWN_DELAY: '5s' });
      const { house, balancer } = behind;
      await using workload = new Workload(house, new Dice(seed), [balancer.entrance(), balancer.entrance()]);
      await workload.recovered(performance.now(), 60_000);
      const before = workload.model.broken.length;
      for (let round = 0; round < rounds; round++) {
        for (const [i, replica] of house.replicas.entries()) {
          await replica.end('SIGTERM');
          await workload.recovered(performance.now(), 60_000);
          await replica.serve();
          await eventually(async () => assert.ok((await behind.figure(i, 'backup_calls_running')) > 0));
        }
      }
      await workload.recovered(performance.now(), 60_000);
      const broken = workload.model.broken.slice(before);
      const outcome = await workload.end();
      console.log(`      ${JSON.stringify({ seed, restarts: 3 * rounds, ...outcome, broken: broken.length })}`);
      // haproxy asks for health, and nginx finds out by calls that fail.
      if (name === 'haproxy') assert.deepEqual(broken, [], 'calls that were not answered');
    });

    it('share long streams again with one that has come back, because streams end at an age', async () => {
      await using behind = await startBehind(name, { TAIL_MAX_AGE: '2s' });
      const { house, balancer } = behind;
      await house.replicas[2]!.end('SIGTERM');
      const backupId = newBackupId();
      const entrances = [balancer.entrance(), balancer.entrance(), balancer.entrance()];
      using following = new DisposableStack();
      for (let i = 0; i < 30; i++)
        following.use(follow(() => new Subscriber(entrances[i % 3]!, { backupIds: [backupId], follow: true })));
      const tails = (i: number) => behind.figure(i, 'backup_tails_open');
      await eventually(async () => assert.equal((await tails(0)) + (await tails(1)), 30));
      await house.replicas[2]!.serve();
      await eventually(async () => {
        const open = await Promise.all([0, 1, 2].map(tails));
        assert.ok(Math.min(...open) >= 5, `tails open: ${open}`);
      });
    });
  });
}

/** As in production: nothing here is silent for ever, and a machine that is slow is not to break a call. */
const PATIENT = {
  CALL_TIMEOUT: '60s',
  DATABASE_CONNECT_TIMEOUT: '30s',
  KEEPALIVE_TIME: '60s',
  KEEPALIVE_TIMEOUT: '30s',
  WRITE_TIMEOUT: '60s',
  SHUTDOWN_GRACE: '60s',
};

type BehindBalancer = AsyncDisposable & {
  readonly house: House;
  readonly balancer: Balancer;
  /** A metric of a replica. */
  figure(replica: number, metric: string): Promise<number>;
};

async function startBehind(name: BalancerName, settings: Record<string, string>): Promise<BehindBalancer> {
  await using starting = new AsyncDisposableStack();
  const health = await Promise.all([0, 1, 2].map(async () => `127.0.0.1:${await freePort()}`));
  const starts = health.map(METRICS_LISTEN => ({ settings: { ...PATIENT, ...settings, METRICS_LISTEN } }));
  const house = starting.use(await House.open(...starts));
  const behind = house.replicas.map(({ listens }, i) => ({ address: listens, health: health[i]! }));
  const balancer = starting.use(await startBalancer(name, behind));
  const open = starting.move();
  return {
    house,
    balancer,
    async figure(replica, metric) {
      const text = await (await fetch(`http://${health[replica]}/metrics`)).text();
      return Number(new RegExp(`^${metric} (.*)$`, 'm').exec(text)?.[1]);
    },
    [Symbol.asyncDispose]: () => open.disposeAsync(),
  };
}

/** A tail after another, each of which is ended at an age. */
function follow(start: () => Subscriber): Disposable {
  let subscriber = start();
  let over = false;
  void (async () => {
    while (!over) {
      await subscriber.done;
      await delay(20);
      if (!over) subscriber = start();
    }
  })();
  return {
    [Symbol.dispose]() {
      over = true;
      void subscriber.cancel();
    },
  };
}
