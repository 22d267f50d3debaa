import { setTimeout as delay } from 'node:timers/promises';
import type { Controller, WatchControllersResponse } from '../../../src/gen/backup/v1/controller_pb.ts';
import { Picture, same } from '../../integration/watch/picture.ts';
import { eventually } from '../../support/eventually.ts';
import { isPassing } from '../../support/status.ts';
import type { Scene } from '../caller.ts';
import { KEEPER } from './records.ts';

/** Watches the controllers that are kept, and goes on with its last token on the other replica whenever its stream ends. */
export class Watcher {
  readonly #picture: TellingPicture;
  /** Fails when it was told what cannot be. */
  readonly over: Promise<void>;

  constructor(name: string, { replicas, model, dice }: Scene, signal: AbortSignal) {
    model.enter(name);
    let turn = dice.below(2);
    const next = () => replicas[turn++ % replicas.length]!;
    this.#picture = new TellingPicture(next(), { filter: { userId: KEEPER } });
    this.#picture.tell = () => model.answered(name, performance.now());
    this.over = this.#goOn(next, signal);
    signal.addEventListener('abort', () => void this.#picture.cancel());
  }

  /** Waits until it knows exactly what is there. */
  async complete(truth: Controller[]): Promise<void> {
    await Promise.race([eventually(() => same(this.#picture, truth)), this.over]);
    same(this.#picture, truth);
  }

  async #goOn(next: () => Scene['replicas'][number], signal: AbortSignal): Promise<void> {
    for (;;) {
      const error = await this.#picture.done;
      if (signal.aborted) return;
      if (error && !isPassing(error)) throw error;
      await delay(50);
      this.#picture.resume(next());
    }
  }
}

class TellingPicture extends Picture {
  tell: (() => void) | undefined;

  override record(message: WatchControllersResponse): void {
    super.record(message);
    if (message.controllers.length > 0) this.tell?.();
  }
}
