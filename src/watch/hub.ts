import { setTimeout as delay } from 'node:timers/promises';
import type { MikroORM } from '@mikro-orm/postgresql';
import { changedBackupId } from '../controller/bell.ts';
import type { Shown } from '../controller/row.ts';
import { readClock } from '../db/clock.ts';
import type { Doorbell } from '../db/doorbell.ts';
import type { Sql } from '../db/sql.ts';
import { ErrorReason, isOutage, StatusError } from '../errors.ts';
import { Latch } from '../latch.ts';
import { matches } from './matches.ts';
import { lookAtIds, lookForMatches, type Read, readControllers } from './read.ts';
import { type State, stateOf, type View, type Wish } from './view.ts';
import { Views } from './views.ts';
import { Watcher } from './watcher.ts';

export type HubOptions = {
  sql: Sql;
  orm: MikroORM;
  doorbell: Doorbell;
  /** What a watcher is sent of a controller. */
  encode(row: Shown): Buffer;
  /** How often every view is looked at as a whole, without having been woken: the most by which a lost ring delays a change. */
  pollMs: number;
  /** How long the database may be away before watchers are given up. */
  outageMs: number;
  /** How many controllers a view may hold. */
  most: number;
};

/**
 * What is watched on this replica. Watchers with the same wish share a view, and one loop keeps all views: a change is read once, however
 * many watch it, and held against every view. What was read is taken over in the order of the reads, so a view never goes back.
 *
 * A ring says which controller to read. Rings may be lost, so every view is also looked at as a whole now and then: what is found to differ is
 * read like what was rung for.
 */
export class Hub implements AsyncDisposable {
  /** Reads of changed controllers, for tests: they do not grow with the number of watchers. */
  reads = 0;
  readonly #options: HubOptions;
  readonly #views = new Views();
  readonly #dirty = new Set<string>();
  readonly #latch = new Latch();
  readonly #stop = new AbortController();
  readonly #observing: Disposable;
  readonly #running: Promise<void>;
  #nextLook = 0;
  #missed = false;

  constructor(options: HubOptions) {
    this.#options = options;
    this.#observing = options.doorbell.observe(key => this.#heard(key));
    this.#running = this.#run();
  }

  /** How many views there are and how many watch them, for a count of what is left behind. */
  get size(): { views: number; watchers: number } {
    const views = this.#views.all;
    return { views: views.length, watchers: views.reduce((sum, view) => sum + view.watchers.size, 0) };
  }

  /** A watcher of what is wished for, which begins when the view has been looked at once more. */
  join(wish: Wish): Watcher {
    const view = this.#views.of(wish);
    const watcher = new Watcher(view, () => {
      view.watchers.delete(watcher);
      view.newcomers.delete(watcher);
      if (view.watchers.size === 0) this.#views.remove(view);
    });
    view.watchers.add(watcher);
    view.newcomers.add(watcher);
    this.#latch.set();
    return watcher;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#observing[Symbol.dispose]();
    this.#stop.abort();
    await this.#running;
  }

  #heard(key: string | undefined): void {
    const backupId = key && changedBackupId(key);
    if (key === undefined) this.#missed = true;
    else if (backupId && this.#views.careFor(backupId)) this.#dirty.add(backupId);
    else return;
    this.#latch.set();
  }

  async #run(): Promise<void> {
    const { signal } = this.#stop;
    while (!signal.aborted) {
      this.#latch.clear();
      await this.#round().catch(error => this.#failed(error));
      await delay(PAUSE_MS, undefined, { signal }).catch(() => {});
      await this.#latch.wait(Math.max(0, this.#nextLook - performance.now()), signal);
    }
  }

  async #round(): Promise<void> {
    const everything = this.#missed || performance.now() >= this.#nextLook;
    this.#missed = false;
    await this.#readDirty();
    const views = this.#views.all.filter(view => everything || view.newcomers.size > 0);
    if (views.length > 0) {
      // The clock before the looks: what commits after its time may be told twice, but is never left out.
      const at = Number(await readClock(this.#options.sql));
      const [byId, byConditions] = [views.filter(view => view.wish.ids), views.filter(view => !view.wish.ids)];
      await this.#look(byId, at, () => this.#lookAtIds(byId));
      for (const view of byConditions) await this.#look([view], at, () => this.#lookForMatches(view));
    }
    for (const view of this.#views.all) view.failingSince = undefined;
    if (everything) this.#nextLook = performance.now() + this.#options.pollMs;
  }

  /** Looks at views as a whole. What was rung for is read with what the look has found, so no number of views keeps a ring waiting. */
  async #look(views: View[], at: number, find: () => Promise<void>): Promise<void> {
    const newcomers = views.map(view => [...view.newcomers]);
    await find();
    await this.#readDirty();
    for (const [i, view] of views.entries()) view.complete(at, newcomers[i]!);
  }

  async #lookAtIds(views: View[]): Promise<void> {
    const ids = [...new Set(views.flatMap(view => [...(view.wish.ids ?? [])]))];
    for (const some of chunks(ids)) {
      const found = await lookAtIds(this.#options.sql, some);
      for (const [backupId, { version, removed }] of found) {
        for (const view of this.#views.naming(backupId)) {
          if (view.states.get(backupId)?.version !== version) this.#dirty.add(backupId);
          if (removed) view.putRemoved(backupId);
        }
      }
    }
  }

  async #lookForMatches(view: View): Promise<void> {
    const { orm, most } = this.#options;
    try {
      const found = await lookForMatches(orm, view.wish.conditions, most + 1);
      if (found.size > most) throw tooLarge(most);
      for (const backupId of view.differences(found)) this.#dirty.add(backupId);
    } catch (error) {
      // What only this filter's statement does to the database must not end the others.
      if (isOutage(error)) throw error;
      this.#end(view, error);
    }
  }

  async #readDirty(): Promise<void> {
    const ids = [...this.#dirty];
    this.#dirty.clear();
    for (const some of chunks(ids)) {
      this.reads++;
      const read = await readControllers(this.#options.sql, some);
      for (const backupId of some) this.#apply(backupId, read.get(backupId));
    }
  }

  #apply(backupId: string, read: Read | undefined): void {
    let state: State | undefined;
    for (const view of this.#views.about(backupId)) {
      if (!read || !matches(view.wish.conditions, read.row)) {
        view.put(backupId, undefined);
      } else if (view.states.get(backupId)?.version !== read.version) {
        state ??= stateOf(read, this.#options.encode(read.row));
        view.put(backupId, state);
        if (view.states.size > this.#options.most) this.#end(view, tooLarge(this.#options.most));
      }
    }
  }

  /** Whatever was to be read is found by the next look. */
  async #failed(error: unknown): Promise<void> {
    this.#missed = true;
    this.#latch.set();
    const now = performance.now();
    for (const view of this.#views.all) {
      view.failingSince ??= now;
      if (!isOutage(error) || now - view.failingSince > this.#options.outageMs) this.#end(view, error);
    }
    await delay(RETRY_MS, undefined, { signal: this.#stop.signal }).catch(() => {});
  }

  #end(view: View, error: unknown): void {
    this.#views.remove(view);
    for (const watcher of view.watchers) watcher.fail(error);
  }
}

function tooLarge(most: number): StatusError {
  return new StatusError(ErrorReason.WATCH_TOO_LARGE, `more than ${most} controllers match: narrow the filter`);
}

function* chunks(ids: readonly string[]): Iterable<string[]> {
  for (let i = 0; i < ids.length; i += CHUNK) yield ids.slice(i, i + CHUNK);
}

/** Rows in one statement: short enough not to keep the replica's other calls waiting. */
const CHUNK = 1000;

/** What changes within this time after a round waits for the next one, which reads all of it: 100 rounds a second are the most. */
const PAUSE_MS = 10;

const RETRY_MS = 100;
