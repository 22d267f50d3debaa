import { strict as assert } from 'node:assert';
import { setTimeout as delay } from 'node:timers/promises';
import pg from 'pg';
import { Execution, Operation, Purpose, Status, Type } from '../../../src/gen/backup/v1/controller_pb.ts';
import { acceleratorsOff, type Backend, type Replica, startBackend, startReplica } from '../../support/backend.ts';
import { Dice } from '../../support/dice.ts';
import { readRecords } from '../../support/record.ts';
import { Crew } from './crew.ts';
import { prove } from './proof.ts';

// The same seed deals the same blows in the same order; when they hit is up to the machine.
const seed = Number(process.env['CHAOS_SEED'] ?? Date.now() % 1_000_000);
const settings = { SWEEP_INTERVAL: '200ms', ...(!acceleratorsOff && { TAIL_POLL: '1s' }) };
const BEFORE = 1820;
const STRIKES = 18;
const WITH_EACH = 10;
const TOTAL = BEFORE + STRIKES * WITH_EACH;

describe('Workers that are killed and stopped at random', () => {
  it('lose no run, and none is ever written by two of them', async () => {
    const dice = new Dice(seed);
    await using backend = await startBackend({ replicas: 2, settings });
    const [one, other] = backend.replicas as [Replica, Replica];
    await fillQueue(backend, BEFORE);
    await using watch = await new Watch(backend.database.url).open();
    await using crew = new Crew([one.address, other.address], dice);
    for (let i = 0; i < 8; i++) crew.hire();
    const begun = performance.now();

    const stops: Promise<void>[] = [];
    await using returned = new AsyncDisposableStack();
    for (let strike = 1; strike <= STRIKES; strike++) {
      await watch.over(Math.floor((strike * TOTAL) / (STRIKES + 2)));
      await Promise.all(Array.from({ length: WITH_EACH }, () => createRun(one, dice)));
      if (strike === STRIKES / 2) {
        await other[Symbol.asyncDispose]();
        returned.use(await startReplica(backend.database.url, { ...settings, LISTEN: other.address }));
      } else if (strike % 2 === 1) {
        crew.kill();
      } else {
        const stop = crew.stop(worker => watch.freed(worker));
        stop.catch(() => {}); // it is waited for below, if the test gets there
        stops.push(stop);
      }
    }
    await Promise.all(stops);
    await watch.over(TOTAL);
    const seconds = Math.round((performance.now() - begun) / 100) / 10;
    await crew.leave();

    const figures = await prove(backend.database, readRecords(crew.folder), crew.killed);
    const kills = crew.killed.size;
    console.log(`      ${JSON.stringify({ seed, runs: TOTAL, ...figures, kills, stops: crew.stops, seconds })}`);
    assert.ok(figures.losses > kills && figures.refusals > crew.stops, 'nothing much has happened');
    assert.ok(figures.givenBack <= kills * 5, 'claims are missing although nobody was killed while it claimed');
  });
});

async function fillQueue({ database }: Backend, count: number): Promise<void> {
  await database.query(
    `insert into backup_controllers (backupid, type, itemid, format, interactive, purpose, userid, status, execution, maxattempts)
     select md5(i::text), 'course', i, 'moodle2', 0, 70, 0, 700, 2, 1 + i % 3 from generate_series(1, $1::int) i`,
    [count],
  );
}

async function createRun({ controllers }: Replica, dice: Dice): Promise<void> {
  await controllers.createController({
    operation: Operation.BACKUP,
    type: Type.COURSE,
    purpose: Purpose.ASYNC,
    status: Status.AWAITING,
    execution: Execution.DELAYED,
    maxAttempts: 1 + dice.below(3),
  });
}

/** Waits for what the table says, on one connection: opening one for each look would be a tenth of the test's work. */
class Watch implements AsyncDisposable {
  readonly #client: pg.Client;

  constructor(url: string) {
    this.#client = new pg.Client({ connectionString: url });
  }

  async open(): Promise<this> {
    await this.#client.connect();
    return this;
  }

  /** Until so many runs are over. */
  over(count: number): Promise<void> {
    return this.#until('count(*) filter (where status >= 900) >= $1::int', count);
  }

  /** Until a worker holds nothing. */
  freed(worker: string): Promise<void> {
    return this.#until('count(*) filter (where leasetoken is not null and leaseworker = $1::varchar) = 0', worker);
  }

  async #until(condition: string, value: unknown): Promise<void> {
    for (;;) {
      const { rows } = await this.#client.query(`select ${condition} as so from backup_controllers`, [value]);
      if (rows[0].so) return;
      await delay(50);
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#client.end();
  }
}
