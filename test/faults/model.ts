import { strict as assert } from 'node:assert';
import type { Truth } from '../support/history.ts';

type Line = { backupId: string; begun: number; id?: bigint; keptAt?: number };

/**
 * What clients were told: which lines are kept for sure, which of them perhaps, and when each client last had an answer to something that it
 * had begun at which time.
 */
export class Model {
  acknowledged = 0;
  /** Calls that had no answer, or one that says to come back: what their callers were told. */
  readonly broken: string[] = [];
  readonly #lines = new Map<string, Line>();
  readonly #messages = new Map<string, string[]>();
  readonly #actors = new Map<string, number>();

  /** From now on recovery is waited for until this actor, too, has an answer. */
  enter(actor: string): void {
    this.#actors.set(actor, -1);
  }

  /** An answer came to what was begun then (performance.now). */
  answered(actor: string, begun: number): void {
    this.acknowledged++;
    this.seen(actor, begun);
  }

  /** It is about to be written; nobody knows whether it will be. */
  trying(backupId: string, messages: string[]): void {
    for (const message of messages) this.#lines.set(message, { backupId, begun: performance.now() });
    const all = this.#messages.get(backupId);
    if (all) all.push(...messages);
    else this.#messages.set(backupId, [...messages]);
  }

  /** It was answered to be written, under these ids if they were told. */
  kept(messages: string[], firstId?: bigint): void {
    for (const [i, message] of messages.entries()) {
      const line = this.#lines.get(message)!;
      line.keptAt = performance.now();
      if (firstId !== undefined) line.id = firstId + BigInt(i);
    }
  }

  /** Somebody who began then was told all of a log: each line that was kept by that time, in order, and none twice. Fails otherwise. */
  read(backupId: string, entries: readonly { id: bigint; message: string }[], begun: number): void {
    const ids = entries.map(({ id }) => Number(id));
    const dense = ids.map((_, i) => i + 1);
    assert.deepEqual(ids, dense, `the ids of ${backupId} are not dense`);
    const there = new Map(entries.map(({ id, message }) => [message, id]));
    assert.equal(there.size, entries.length, `a line of ${backupId} was told twice`);
    for (const message of this.#messages.get(backupId) ?? []) {
      const { keptAt, id } = this.#lines.get(message)!;
      const told = there.get(message);
      if (keptAt !== undefined && keptAt < begun) assert.ok(told, `${message} was not told`);
      if (told && id !== undefined) assert.equal(told, id, message);
    }
  }

  /** A tail was told this. */
  told(actor: string, message: string): void {
    const line = this.#lines.get(message);
    if (line) this.seen(actor, line.begun);
  }

  /** What was begun then has come to this actor. */
  seen(actor: string, begun: number): void {
    this.#actors.set(actor, Math.max(begun, this.#actors.get(actor) ?? -1));
  }

  /** Those who had no answer yet to anything that they have begun since. */
  silentSince(time: number): string[] {
    return [...this.#actors].filter(([, begun]) => begun < time).map(([actor]) => actor);
  }

  get backupIds(): string[] {
    return [...this.#messages.keys()];
  }

  /** Compares with what the logs hold: lines that were acknowledged and are not there, and lines that are there twice. Fails at ids that are not dense. */
  compare(truth: Truth): { lines: number; lost: string[]; doubled: string[] } {
    const there = Map.groupBy(truth, ({ message }) => message as string);
    for (const [backupId, rows] of Map.groupBy(truth, row => row.backupid)) {
      const ids = rows.map(({ id }) => Number(id));
      assert.deepEqual(
        ids,
        ids.map((_, i) => i + 1),
        `the ids of ${backupId} are not dense`,
      );
    }
    for (const message of there.keys()) assert.ok(this.#lines.has(message), `nobody has written ${message}`);
    const lost: string[] = [];
    const doubled: string[] = [];
    for (const [message, { backupId, id, keptAt }] of this.#lines) {
      const rows = there.get(message) ?? [];
      if (rows.length > 1) doubled.push(message);
      const right = rows.some(
        row => row.backupid === backupId && (id === undefined || BigInt(row.id as string) === id),
      );
      if (keptAt !== undefined && !right) lost.push(message);
    }
    return { lines: this.#lines.size, lost, doubled };
  }
}
