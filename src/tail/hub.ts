import { setTimeout as delay } from 'node:timers/promises';
import type { Pool } from 'pg';
import type { Doorbell } from '../db/doorbell.ts';
import { isOutage } from '../errors.ts';
import { isBackupId } from '../ids.ts';
import { Latch } from '../latch.ts';
import { type Active, readActive } from '../log/active.ts';
import { type Appended, entriesOf, type NewEntry } from '../log/append.ts';
import type { Position } from '../log/entry.ts';
import { type News, readNews } from '../log/news.ts';
import type { PageLimits } from '../log/page.ts';
import { Reader, WideReader } from './reader.ts';
import { Recent } from './recent.ts';
import { type Follower, WatchedLog } from './watched.ts';

export type HubOptions = {
  /** Appends have the same connections. */
  hot: Pool;
  doorbell: Doorbell;
  page: PageLimits;
  /** How often to look without having been woken: the most by which a lost ring delays an entry. */
  pollMs: number;
  /** How long the database may be away before readers are given up. */
  outageMs: number;
  /** Whether what is appended on this replica goes to its readers without being read again. */
  direct: boolean;
  /** How long a transaction may take, in milliseconds: what is found later than that has begun later. */
  transactionMs: number;
  /** How much of what came last is kept for readers, in bytes. */
  recentBytes: number;
};

/**
 * What is followed on this replica, read once for all who follow it: one loop looks at the logs that were rung for, and now and then at all
 * of them, because rings may be lost. What comes is encoded once and kept for a while; who is slower reads for himself.
 *
 * Entries that are appended on this replica come here as soon as they are durable, without the way through the database. That holds as
 * long as nothing can have come between: they follow what is known, and no connection was made since that was proved. A database that has
 * failed over and lost entries breaks all connections, and then the next look proves what is known.
 */
export class Hub implements AsyncDisposable {
  /** Looks at logs, for tests: they do not grow with the number of readers. */
  looks = 0;
  readonly #options: HubOptions;
  readonly #logs = new Map<string, WatchedLog>();
  readonly #rung = new Set<string>();
  readonly #all = new Set<string>();
  readonly #wide = new Set<WideReader>();
  /** What the last look at all that is active has found; and the one that is under way. */
  #active: Active | undefined;
  #looking: WideReader['look'];
  readonly #recent: Recent;
  readonly #latch = new Latch();
  readonly #stop = new AbortController();
  readonly #observing: Disposable;
  readonly #running: Promise<void>;
  #nextPoll = 0;
  #failingSince: number | undefined;
  /** How many connections were made. */
  #era = 0;

  constructor(options: HubOptions) {
    this.#options = options;
    this.#recent = new Recent(options.recentBytes);
    this.#observing = options.doorbell.observe(key => this.#heard(key));
    options.hot.on('connect', () => void this.#era++);
    this.#running = this.#run();
  }

  /** How many logs are followed and how many follow them, for a count of what is left behind. */
  get size(): { logs: number; readers: number; recentBytes: number } {
    return { logs: this.#logs.size, readers: this.#readers().size, recentBytes: this.#recent.bytes };
  }

  /** By how many entries the slowest of those is behind who had delivered all that was there once. */
  get lag(): number {
    let most = 0n;
    for (const { behind } of this.#readers()) {
      const entries = behind?.() ?? 0n;
      if (entries > most) most = entries;
    }
    return Number(most);
  }

  /** Follows logs. They have been looked at when the reader's `looked` says so, not before. */
  join(backupIds: readonly string[]): Reader {
    const logs = backupIds.map(backupId => this.#watch(backupId));
    const reader = new Reader(logs, {
      look: () => this.#look(backupIds),
      leave: () => {
        for (const log of logs) {
          log.readers.delete(reader);
          if (log.readers.size === 0 && this.#wide.size === 0) this.#forget(log);
        }
      },
    });
    for (const log of logs) log.readers.add(reader);
    return reader;
  }

  /** Follows whatever moves, of which it is told from now on. `looked` says when everything that is active was looked at. */
  joinAll(): WideReader {
    const reader: WideReader = new WideReader([], {
      look: () => {
        this.#nextPoll = 0;
        this.#latch.set();
      },
      leave: () => {
        this.#wide.delete(reader);
        if (this.#wide.size > 0) return;
        this.#active = undefined;
        for (const log of this.#logs.values()) if (log.readers.size === 0) this.#forget(log);
      },
    });
    this.#wide.add(reader);
    return reader;
  }

  /** Told of what was appended on this replica, once it is durable. */
  appended(backupId: string, entries: readonly NewEntry[], appended: Appended): void {
    const log = this.#cared(backupId);
    if (!log || !this.#options.direct) return;
    const { firstId, lastId, lastMicros, sealedId } = appended;
    const follows = log.known !== undefined && log.known.id + 1n === firstId;
    // A seal comes with the last status of the run: both are told by one look.
    if (follows && log.head!.sealedId === sealedId && log.provedIn === this.#era) {
      this.#recent.keep(log.add(entriesOf(appended, entries), this.#options.page));
      log.head = { ...log.head!, exists: true, lastId, lastMicros };
      this.#wake(log);
    } else {
      this.#look([backupId]);
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#observing[Symbol.dispose]();
    this.#stop.abort();
    await this.#running;
  }

  #readers(): Set<Follower> {
    return new Set([...this.#logs.values()].flatMap(log => [...log.readers]).concat(...this.#wide));
  }

  #heard(key: string | undefined): void {
    if (key !== undefined) {
      if (isBackupId(key)) this.#look([key]);
    } else {
      this.#nextPoll = 0;
      this.#latch.set();
    }
  }

  #look(backupIds: readonly string[]): void {
    for (const backupId of backupIds) if (this.#cared(backupId)) this.#rung.add(backupId);
    if (this.#rung.size > 0) this.#latch.set();
  }

  /** A log that somebody follows; when somebody follows everything, any. */
  #cared(backupId: string): WatchedLog | undefined {
    const log = this.#logs.get(backupId);
    if (log || this.#wide.size === 0) return log;
    return this.#watch(backupId);
  }

  #watch(backupId: string): WatchedLog {
    const log = this.#logs.get(backupId) ?? new WatchedLog(backupId);
    this.#logs.set(backupId, log);
    return log;
  }

  /** Nobody follows it any more: what was kept for those who did goes, too. */
  #forget(log: WatchedLog): void {
    this.#logs.delete(log.backupId);
    this.#recent.release(log.forget());
  }

  #wake(log: WatchedLog): void {
    for (const reader of log.readers) reader.latch.set();
    for (const reader of this.#wide) {
      reader.moved.set(log.backupId, log);
      reader.latch.set();
    }
  }

  async #run(): Promise<void> {
    const { signal } = this.#stop;
    while (!signal.aborted) {
      this.#latch.clear();
      try {
        // One look at all ends before the next one begins: where that is asked for all the while, none would ever come to its end.
        if (this.#all.size === 0 && performance.now() >= this.#nextPoll) await this.#poll();
        await this.#round(this.#rung);
        await this.#round(this.#all);
        if (this.#all.size === 0) this.#tellWide();
      } catch (error) {
        await this.#failed(error);
      }
      if (this.#rung.size + this.#all.size === 0) await this.#latch.wait(this.#nextPoll - performance.now(), signal);
    }
  }

  /** Begins to look at all logs, and at what else is active if somebody follows everything. */
  async #poll(): Promise<void> {
    const { hot, pollMs, transactionMs } = this.#options;
    const began = performance.now();
    this.#nextPoll = began + pollMs;
    for (const log of this.#logs.values()) {
      log.forgetPages();
      if (log.readers.size > 0) this.#all.add(log.backupId);
    }
    if (this.#wide.size === 0) return;
    const active = await readActive(hot, this.#active?.at, BigInt(transactionMs) * 1000n);
    for (const [backupId, lastId] of active.lastIds) {
      const head = this.#watch(backupId).head;
      // Without a controller it may have got one since.
      if (head?.lastId !== lastId || !head.run) this.#all.add(backupId);
    }
    for (const log of this.#logs.values()) {
      const { backupId, readers } = log;
      if (readers.size === 0 && !active.lastIds.has(backupId) && !this.#rung.has(backupId)) this.#forget(log);
    }
    this.#looking = { active, began };
  }

  /** Everything that is active has been looked at, and handed over. */
  #tellWide(): void {
    if (!this.#looking) return;
    this.#active = this.#looking.active;
    for (const reader of this.#wide) {
      reader.look = this.#looking;
      reader.latch.set();
    }
    this.#looking = undefined;
  }

  async #round(ids: Set<string>): Promise<void> {
    const logs: { log: WatchedLog; known: Position | undefined }[] = [];
    for (const backupId of ids) {
      ids.delete(backupId);
      const log = this.#logs.get(backupId);
      if (log) logs.push({ log, known: log.known });
      if (logs.length === LOGS) break;
    }
    if (logs.length === 0) return;
    const { hot, page } = this.#options;
    const began = performance.now();
    const era = this.#era;
    this.looks++;
    const asked = logs.map(({ log, known }) => ({ backupId: log.backupId, lastId: known?.id }));
    const news = await readNews(hot, asked, page.entries);
    this.#failingSince = undefined;
    for (const { log, known } of logs) this.#apply(log, known, news.get(log.backupId)!, { began, era });
  }

  #apply(log: WatchedLog, known: Position | undefined, news: News, { began, era }: { began: number; era: number }) {
    this.#recent.keep(log.look(known, news, this.#options.page));
    log.lookedAt = began;
    log.provedIn = era;
    // There is more than a look reads, or what is known is known no more.
    if (log.known ? log.known.id < log.head!.lastId : log.head!.exists) this.#look([log.backupId]);
    this.#wake(log);
  }

  /** Whatever was to be looked at is looked at with all others, once the database is back. */
  async #failed(error: unknown): Promise<void> {
    const now = performance.now();
    this.#failingSince ??= now;
    if (!isOutage(error) || now - this.#failingSince > this.#options.outageMs) {
      const readers = [...this.#logs.values()].flatMap(log => [...log.readers]);
      for (const reader of [...readers, ...this.#wide]) reader.fail(error);
    }
    this.#nextPoll = 0;
    this.#all.clear();
    this.#looking = undefined;
    await delay(RETRY_MS, undefined, { signal: this.#stop.signal }).catch(() => {});
  }
}

/** In one statement. */
const LOGS = 200;

const RETRY_MS = 100;

/** The keys that are rung for logs. */
