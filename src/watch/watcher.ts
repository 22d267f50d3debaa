import { isFinished, Status } from '../controller/lifecycle.ts';
import { Latch } from '../latch.ts';
import type { Onlooker, View } from './view.ts';

/** A part of what is to be told; with a checkpoint when everything up to it has been told with this part. */
export type Part = { states: Buffer[]; removed: string[]; checkpoint: Buffer | undefined };

/**
 * What one watcher has still to be told of a view: backup ids and not states, so that a slow one is told the latest state only, and never costs
 * more than two sets of ids.
 */
export class Watcher implements Onlooker, Disposable {
  readonly #view: View;
  readonly #leave: () => void;
  readonly #latch = new Latch();
  // Each id with whether it has to be told when it goes: what came and goes without having been told is left out again.
  #round = new Map<string, boolean>();
  #next = new Map<string, boolean>();
  // Of the round that is being told.
  #checkpoint: Buffer | undefined;
  #begun = false;
  #failure: { error: unknown } | undefined;

  constructor(view: View, leave: () => void) {
    this.#view = view;
    this.#leave = leave;
  }

  get view(): View {
    return this.#view;
  }

  /** Whether the view is no older than the watcher. */
  get begun(): boolean {
    return this.#begun;
  }

  begin(): void {
    this.#begun = true;
    this.#latch.set();
  }

  fail(error: unknown): void {
    this.#failure = { error };
    this.#latch.set();
  }

  changed(backupId: string, wasThere: boolean): void {
    if (!this.#begun) return;
    const ids = this.#round.has(backupId) ? this.#round : this.#next;
    const known = ids.get(backupId) ?? wasThere;
    if (known || this.#view.states.has(backupId)) ids.set(backupId, known);
    else ids.delete(backupId);
    this.#latch.set();
  }

  /** Everything is to be told. */
  tellAll(): void {
    this.#next.clear();
    for (const backupId of this.#view.states.keys()) this.#next.set(backupId, false);
    for (const backupId of this.#view.removed) this.#next.set(backupId, true);
  }

  /** What may have changed since a time is to be told, and of these others that they are not there, unless they are. */
  tellSince(since: number, others: Iterable<string>): void {
    for (const [backupId, { status, updatedAt }] of this.#view.states) {
      // Reports of progress move no `updated_at`.
      if (updatedAt >= since || status === Status.EXECUTING) this.#next.set(backupId, true);
    }
    for (const backupId of this.#view.removed) this.#next.set(backupId, true);
    for (const backupId of others) this.#next.set(backupId, true);
  }

  /**
   * Up to `most` of what is to be told, or undefined when there is nothing. It goes in rounds: what changes while one is being told waits for
   * the next, so that every round ends, with a checkpoint, however much changes meanwhile.
   */
  take(most: number): Part | undefined {
    if (!this.#checkpoint) {
      if (this.#next.size === 0) return undefined;
      [this.#round, this.#next] = [this.#next, this.#round];
      this.#checkpoint = this.#view.checkpoint;
    }
    const states: Buffer[] = [];
    const removed: string[] = [];
    for (const backupId of this.#round.keys()) {
      if (states.length + removed.length === most) break;
      this.#round.delete(backupId);
      const state = this.#view.states.get(backupId);
      if (state) states.push(state.bytes);
      else removed.push(backupId);
    }
    const checkpoint = this.#round.size === 0 ? this.#checkpoint : undefined;
    if (checkpoint) this.#checkpoint = undefined;
    return { states, removed, checkpoint };
  }

  /** Whether each of the ids that are wished for has finished or was deleted. */
  get allOver(): boolean {
    const { wish, states, removed } = this.#view;
    if (!wish.ids) return false;
    return [...wish.ids].every(id => {
      const state = states.get(id);
      return state ? isFinished(state.status) : removed.has(id);
    });
  }

  /** Resolves when there is something to tell, when `ms` have passed or `stop` is aborted; fails when the view has failed. */
  async wait(ms: number, stop: AbortSignal): Promise<void> {
    await this.#latch.wait(ms, stop);
    this.#latch.clear();
    if (this.#failure) throw this.#failure.error;
  }

  [Symbol.dispose](): void {
    this.#leave();
  }
}
