import { setTimeout as delay } from 'node:timers/promises';
import type { ServiceError } from '@grpc/grpc-js';
import type { Options } from '../../src/grpc/client.ts';
import type { Replica } from '../support/backend.ts';
import type { Dice } from '../support/dice.ts';
import { isPassing } from '../support/status.ts';
import type { Model } from './model.ts';

/** A way into the service: a replica, or a balancer in front of several. */
export type Entrance = Pick<Replica, 'controllers' | 'courses' | 'logs' | 'address'> & {
  /** How long a call waits for its answer, in milliseconds; 10,000 where what is in between may be silent for ever. */
  readonly timeoutMs?: number;
};

/** Where an actor acts, until `stop`. */
export type Scene = {
  replicas: Entrance[];
  model: Model;
  dice: Dice;
  stop: AbortSignal;
  /** Whether to ask again after an error; by default, after those that say so. */
  passes?: (error: ServiceError) => boolean;
};

type Ask<T> = (replica: Entrance, options: Options) => Promise<T>;

/** A client as the contract wants it: sends again what may be sent again, to one replica and then to the other. */
export class Caller {
  readonly name: string;
  readonly #scene: Scene;
  #turn: number;

  constructor(name: string, scene: Scene, first = 0) {
    this.name = name;
    this.#scene = scene;
    this.#turn = first;
    scene.model.enter(name);
  }

  get replica(): Entrance {
    return this.#scene.replicas[this.#turn % this.#scene.replicas.length]!;
  }

  /** Until it is answered: for what can be sent again. */
  async ask<T>(ask: Ask<T>): Promise<T> {
    for (;;) {
      const answer = await this.once(ask);
      if (answer) return answer.value;
    }
  }

  /** Undefined when no answer came: nobody knows whether it was done. */
  async once<T>(ask: Ask<T>): Promise<{ value: T } | undefined> {
    const begun = performance.now();
    try {
      const value = await ask(this.replica, { timeoutMs: this.replica.timeoutMs ?? 10_000 });
      this.#scene.model.answered(this.name, begun);
      return { value };
    } catch (error) {
      if (!(this.#scene.passes ?? isPassing)(error as ServiceError)) throw error;
      this.#scene.model.broken.push(`${this.name}: ${(error as ServiceError).message}`);
      this.#turn++;
      // One that is dead refuses at once: as fast as a loop can ask.
      await delay(20 + this.#scene.dice.below(50));
      return undefined;
    }
  }
}
