import type { FilterQuery } from '@mikro-orm/core';
import type { Controller } from '../controller/entity.ts';
import type { Status } from '../controller/lifecycle.ts';
import type { Read } from './read.ts';

/** What somebody wants to watch. */
export type Wish = {
  /** Equal for wishes that want the same. */
  readonly key: string;
  /** Controllers by name; undefined is all that meet the conditions. */
  readonly ids: ReadonlySet<string> | undefined;
  /** None when there are ids. */
  readonly conditions: FilterQuery<Controller>;
  /** What is told when everything up to this time, in epoch seconds of the database's clock, was told. */
  checkpoint(at: number): Buffer;
};

/** What is known of one controller, with the bytes that tell it. */
export type State = { version: string; status: Status; updatedAt: number; bytes: Buffer };

/** Whoever watches a view. */
export type Onlooker = {
  /** A look that began after it came is complete. */
  begin(): void;
  /** The state of a controller is another one; `wasThere` says whether it was in the view before. */
  changed(backupId: string, wasThere: boolean): void;
  /** There will be no more changes. */
  fail(error: unknown): void;
};

/** What all watchers with the same wish have in common: the controllers that it holds now. */
export class View {
  readonly wish: Wish;
  readonly watchers = new Set<Onlooker>();
  /** Those among them that wait for a look, because what is known may be older than they are. */
  readonly newcomers = new Set<Onlooker>();
  readonly states = new Map<string, State>();
  /** Of the ids that are wished for: those of controllers that were deleted. */
  readonly removed = new Set<string>();
  /** When it was last looked at as a whole, by the database's clock: nothing older is missing. */
  at = 0;
  checkpoint: Buffer = Buffer.alloc(0);
  /** Since when looking fails, on the replica's own steady clock. */
  failingSince: number | undefined;

  constructor(wish: Wish) {
    this.wish = wish;
  }

  /** Takes over a state that was read; undefined is that it does not match, or is gone. */
  put(backupId: string, state: State | undefined): void {
    const before = this.states.get(backupId);
    if (before?.version === state?.version) return;
    if (state) {
      this.states.set(backupId, state);
      this.removed.delete(backupId);
    } else {
      this.states.delete(backupId);
      if (this.wish.ids) this.removed.add(backupId);
    }
    for (const watcher of this.watchers) watcher.changed(backupId, before !== undefined);
  }

  /** Takes note of the deletion of a controller that may never have been here. */
  putRemoved(backupId: string): void {
    if (this.states.has(backupId) || this.removed.has(backupId)) return;
    this.removed.add(backupId);
    for (const watcher of this.watchers) watcher.changed(backupId, true);
  }

  /** What differs from what a look has found, by the versions of all that belong here. */
  *differences(found: ReadonlyMap<string, string>): Iterable<string> {
    for (const [backupId, version] of found) if (this.states.get(backupId)?.version !== version) yield backupId;
    for (const backupId of this.states.keys()) if (!found.has(backupId)) yield backupId;
  }

  /** It was looked at as a whole: `newcomers` are those who were there before the look. */
  complete(at: number, newcomers: readonly Onlooker[]): void {
    this.at = at;
    this.checkpoint = this.wish.checkpoint(at);
    for (const watcher of newcomers) if (this.newcomers.delete(watcher)) watcher.begin();
  }
}

/** What a row that was read is kept as. */
export function stateOf({ row, version }: Read, bytes: Buffer): State {
  return { version, status: row.status, updatedAt: Number(row.updatedAt), bytes };
}
