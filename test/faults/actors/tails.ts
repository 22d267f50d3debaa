import { strict as assert } from 'node:assert';
import { setTimeout as delay } from 'node:timers/promises';
import type { TailLogsResponse } from '../../../src/gen/backup/v1/log_pb.ts';
import { History, type Truth } from '../../support/history.ts';
import { isPassing } from '../../support/status.ts';
import { Subscriber } from '../../support/subscriber.ts';
import type { Scene } from '../caller.ts';
import type { Model } from '../model.ts';

/** Follows logs, and goes on with its last token on the other replica whenever its stream ends. */
export class Follower {
  readonly #history: TellingHistory;
  /** Fails when it was told what cannot be. */
  readonly over: Promise<void>;
  #subscriber: Subscriber;
  #streams = 1;

  constructor(name: string, { replicas, model, dice }: Scene, backupIds: string[], signal: AbortSignal) {
    model.enter(name);
    this.#history = new TellingHistory(name, model);
    let turn = dice.below(2);
    const next = () => replicas[turn++ % replicas.length]!;
    this.#subscriber = new Subscriber(next(), { backupIds, follow: true }, this.#history);
    this.over = this.#goOn(next, signal);
    signal.addEventListener('abort', () => void this.#subscriber.cancel());
  }

  get streams(): number {
    return this.#streams;
  }

  /** Waits until everything has come, each line once and in order; fails if more has, or other. */
  async complete(truth: Truth): Promise<void> {
    const enough = async () => {
      while (this.#history.entries.length < truth.length) await delay(20);
    };
    await Promise.race([enough(), this.over, delay(60_000, undefined, { ref: false })]);
    this.#history.complete(truth);
  }

  async #goOn(next: () => Scene['replicas'][number], signal: AbortSignal): Promise<void> {
    for (;;) {
      const error = await this.#subscriber.done;
      if (signal.aborted) return;
      if (error && !isPassing(error)) throw error;
      assert.ok(error || this.#history.end, 'the stream has ended without an end');
      await delay(50);
      this.#streams++;
      const request = { ...this.#subscriber.request };
      // One that broke before its first token begins again at the start.
      this.#subscriber = this.#history.token
        ? this.#subscriber.resume(next())
        : new Subscriber(next(), request, this.#history);
    }
  }
}

class TellingHistory extends History {
  readonly #name: string;
  readonly #model: Model;

  constructor(name: string, model: Model) {
    super();
    this.#name = name;
    this.#model = model;
  }

  override record(response: TailLogsResponse): void {
    super.record(response);
    if (response.event.case !== 'entries') return;
    for (const { message } of response.event.value.entries) this.#model.told(this.#name, message);
  }
}
