import { strict as assert } from 'node:assert';
import { setTimeout as delay } from 'node:timers/promises';
import type { ServiceError } from '@grpc/grpc-js';
import type { Dice } from '../../support/dice.ts';
import { eventually } from '../../support/eventually.ts';
import { detailsOf, isPassing } from '../../support/status.ts';
import type { StoreWay } from '../../support/store-way.ts';
import { Caller } from '../caller.ts';
import { Cast, RECOVERY_MS } from '../cast.ts';
import type { House } from '../house.ts';
import type { Books } from './books.ts';
import { timePasses } from './faults.ts';
import { listed, readDoomed, readLogs, tailed } from './readers.ts';
import { doomLogs, keepLogs, type Log } from './runs.ts';

/** What was acknowledged, and what became of it. */
export type Outcome = {
  acknowledged: number;
  broken: number;
  logs: number;
  doomed: number;
  lines: number;
  lost: number;
  doubled: number;
  segments: number;
};

/** Logs that are written, moved, read and removed at once, until `end`; and whether what clients were told is what is there. */
export class MovingWorkload implements AsyncDisposable {
  readonly #house: House;
  readonly #books: Books;
  readonly #cast: Cast;
  readonly #logs: Log[] = [];
  readonly #doomed = new Map<string, string>();

  constructor(house: House, ways: StoreWay[], books: Books, dice: Dice) {
    this.#house = house;
    this.#books = books;
    // Less than there is, is an object that is not what it was; but only for as long as less is given.
    const passes = (error: ServiceError) =>
      isPassing(error) || (isLoss(error) && ways.some(({ spoiledAt }) => performance.now() - spoiledAt < 20_000));
    this.#cast = new Cast(house, dice, house.replicas, passes);
    const { scene } = this.#cast;
    this.#cast.enter(
      keepLogs('keep 1', scene, this.#logs),
      keepLogs('keep 2', scene, this.#logs),
      doomLogs('doom 1', scene, this.#doomed),
      doomLogs('doom 2', scene, this.#doomed),
      doomLogs('doom 3', scene, this.#doomed),
      readLogs('read 1', scene, this.#logs),
      readLogs('read 2', scene, this.#logs),
      readDoomed('read doomed', scene, this.#doomed),
      this.#watchMoves('moves'),
    );
  }

  /** As `Cast.recovered`: a log was moved, too. */
  recovered(since: number, withinMs: number): Promise<number> {
    return this.#cast.recovered(since, withinMs);
  }

  /** Lets everybody end what they are about, and compares. */
  async end(): Promise<Outcome> {
    await this.#cast.end();
    const { model } = this.#cast;
    const forgotten = await this.#books.forgotten();
    assert.deepEqual(forgotten, [], 'objects that nobody knows of');
    const kept = this.#logs.map(({ backupId }) => backupId);
    await eventually(async () => {
      await timePasses(this.#house);
      await this.#books.settled(kept, this.#doomed);
    }, 2 * RECOVERY_MS);

    const truth = await this.#books.truth(kept);
    const { lines, lost, doubled } = model.compare(truth.entries);
    assert.deepEqual({ lost, doubled }, { lost: [], doubled: [] });
    const caller = new Caller('auditor', this.#cast.scene);
    for (const [backupId, rows] of Map.groupBy(truth.entries, ({ backupid }) => backupid as string)) {
      const expected = rows.map(({ id, message }) => `${id} ${message}`);
      for (const read of [listed(caller, this.#cast.scene, backupId), tailed(this.#cast.scene, backupId)])
        assert.deepEqual(
          (await read).map(({ id, message }) => `${id} ${message}`),
          expected,
        );
    }
    const { acknowledged, broken } = model;
    const counts = { logs: kept.length, doomed: this.#doomed.size, lines, segments: truth.segments };
    return { acknowledged, broken: broken.length, ...counts, lost: lost.length, doubled: doubled.length };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#cast.stop();
  }

  /** What was not moved when it was looked at last, and is now, was moved since then. */
  async #watchMoves(name: string): Promise<void> {
    const { model, stop } = this.#cast.scene;
    model.enter(name);
    for (let [left, since] = [new Set<string>(), 0]; !stop.aborted; await delay(100)) {
      const now = performance.now();
      const logs = this.#logs.filter(log => log.finished).map(({ backupId }) => backupId);
      const moved = await this.#books.moved(logs).catch(() => undefined);
      if (!moved) continue;
      if (moved.some(backupId => left.has(backupId))) model.seen(name, since);
      left = new Set(logs).difference(new Set(moved));
      since = now;
    }
  }
}

function isLoss(error: ServiceError): boolean {
  const said = error.metadata?.get('grpc-status-details-bin') ?? [];
  return said.length > 0 && detailsOf(error.metadata).info?.reason === 'SEGMENT_LOST';
}
