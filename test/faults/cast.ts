import { strict as assert } from 'node:assert';
import type { ServiceError } from '@grpc/grpc-js';
import type { Dice } from '../support/dice.ts';
import { eventually } from '../support/eventually.ts';
import type { Entrance, Scene } from './caller.ts';
import type { House } from './house.ts';
import { Model } from './model.ts';

/** Within which everybody has an answer again after a fault has ended, however slow the machine is. On a quiet one it takes 12 s at most, which is printed. */
export const RECOVERY_MS = 240_000;

/** All who act on a house at once until they are stopped, and what they were told. */
export class Cast {
  readonly model = new Model();
  readonly scene: Scene;
  readonly #house: House;
  readonly #stop = new AbortController();
  readonly #actors: Promise<void>[] = [];
  #failure: Error | undefined;

  /** By way of these replicas, or of what stands in front of them. `passes` says what an actor has to put up with. */
  constructor(house: House, dice: Dice, replicas: Entrance[], passes?: (error: ServiceError) => boolean) {
    this.#house = house;
    this.scene = { replicas, model: this.model, dice, stop: this.#stop.signal, ...(passes && { passes }) };
  }

  /** They act until they are stopped. */
  enter(...actors: Promise<void>[]): void {
    this.#actors.push(...actors);
    this.watch(...actors);
  }

  /** When one of these fails, all has failed. */
  watch(...actors: Promise<void>[]): void {
    for (const actor of actors)
      actor.catch((error: Error) => {
        this.#failure ??= error;
      });
  }

  /** Waits until everybody has had an answer to something that was begun after this time, and returns how long after it that was, in milliseconds. */
  async recovered(since: number, withinMs: number): Promise<number> {
    await eventually(() => {
      const silent = this.#failure ? [] : this.model.silentSince(since);
      assert.deepEqual(silent, [], `${silent} have not recovered`);
    }, withinMs);
    if (this.#failure) throw this.#failure;
    for (const replica of this.#house.replicas)
      assert.ok(!replica.crashed, `a replica has crashed: ${replica.output()}`);
    return performance.now() - since;
  }

  /** Nobody begins anything any more. */
  stop(): void {
    this.#stop.abort();
  }

  /** Lets everybody end what they are about. */
  async end(): Promise<void> {
    this.stop();
    await Promise.all(this.#actors);
  }
}
