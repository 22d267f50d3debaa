import type { Frame } from '../grpc/frame.ts';
import type { Latch } from '../latch.ts';
import { type Encoded, encodeEntries } from '../log/encode.ts';
import { type Entry, fingerprint, type Position } from '../log/entry.ts';
import type { Head } from '../log/head.ts';
import type { News } from '../log/news.ts';
import { ALL_LEVELS, type PageLimits, readAfter } from '../log/page.ts';
import type { Logs } from '../segment/archive.ts';

/** Entries as they are delivered: elements of `TailEntries.entries` on the wire. */
export type Page = {
  /** May be none, when the filter leaves all of them out. */
  entries: number;
  bytes: Buffer;
  /** What it leads to. */
  end: Position;
  /** The whole message for those who follow this log alone, once somebody has made it. */
  message?: Frame;
};

/** Entries that came together, encoded once for all who read them. */
export type Chunk = { log: WatchedLog; before: Position; end: Position; levels: number[]; encoded: Encoded };

/** Who is woken when a log has moved, and told when it cannot be looked at any more. */
export type Follower = { latch: Latch; behind: (() => bigint) | undefined; fail(error: unknown): void };

/** What a page is asked for. */
export type Asked = { upTo: bigint; maxLevel: number; history?: ReadHistory | undefined };

/** How what was there before a tail came is read: what it gets reads a page where this chooses. */
export type ReadHistory = (read: () => ReturnType<typeof readAfter>) => ReturnType<typeof readAfter>;

/** Number of `TailEntries.entries`. */
const ENTRIES = 2;

/** A log that somebody follows on this replica: where it stands, and what came last. */
export class WatchedLog {
  readonly backupId: string;
  readonly readers = new Set<Follower>();
  head: Head | undefined;
  /** When the last look at it began, by `performance.now()`. */
  lookedAt = Number.NEGATIVE_INFINITY;
  /** The last entry that is known, and proved to be what it was when it came; undefined when the next look is to say. */
  known: Position | undefined;
  /** In which era of connections what is known was proved. */
  provedIn = -1;
  /** How often it has turned out to be another log than before: whoever has a position in it proves that anew. */
  turns = 0;
  readonly #chunks: Chunk[] = [];
  readonly #pages = new Map<string, Page | ReturnType<typeof readPage>>();

  constructor(backupId: string, head?: Head) {
    this.backupId = backupId;
    this.head = head;
  }

  /** Takes over what a look has found that began when the log was `known`; returns what of it is new. */
  look(known: Position | undefined, { head, proof, entries }: News, limits: PageLimits): Chunk[] {
    const same = !known || isSame(known, head, proof);
    // What has been appended here since the look began is not part of it.
    if (same && this.head && this.head.lastId > head.lastId) {
      const { lastId, lastMicros } = this.head;
      this.head = { ...head, lastId, lastMicros };
    } else {
      this.head = head;
    }
    if (!same) this.#turn();
    else if (!known) this.known ??= proof;
    else if (this.known) return this.#continue(entries, limits);
    return [];
  }

  /** Takes entries that follow the last known one. */
  add(entries: readonly Entry[], limits: PageLimits): Chunk[] {
    const chunks: Chunk[] = [];
    for (const some of parts(entries, limits)) {
      const last = some.at(-1)!;
      const end = { id: last.id, fingerprint: fingerprint(last) };
      const levels = some.map(({ level }) => level);
      chunks.push({ log: this, before: this.known!, end, levels, encoded: encodeEntries(some, ENTRIES) });
      this.known = end;
    }
    this.#chunks.push(...chunks);
    return chunks;
  }

  /** There is no room for it any more; it is the oldest one. */
  drop(chunk: Chunk): void {
    if (this.#chunks[0] === chunk) this.#chunks.shift();
  }

  /**
   * What comes behind a position: made once for all who ask at the same time, of what came last, or read from the database by who comes first.
   * `cut` and `diverged` as `readAfter` says.
   */
  page(logs: Logs, after: Position, asked: Asked, limits: PageLimits): Page | ReturnType<typeof readPage> {
    // A position that is only to be proved is read anew.
    if (asked.upTo === after.id) return readPage(logs, this.backupId, after, { ...asked, history: undefined }, limits);
    const key = `${after.id} ${after.fingerprint} ${asked.upTo} ${asked.maxLevel}`;
    const there = this.#pages.get(key);
    if (there) return there;
    const made = this.#recent(after, asked, limits) ?? this.#read(key, logs, after, asked, limits);
    this.#pages.set(key, made);
    if (this.#pages.size > PAGES) this.#pages.delete(this.#pages.keys().next().value!);
    return made;
  }

  /** Begins to read what is asked for next. */
  readAhead(logs: Logs, after: Position, asked: Asked, limits: PageLimits): void {
    Promise.resolve(this.page(logs, after, asked, limits)).catch(() => {});
  }

  /** Pages are for those who come at the same time. */
  forgetPages(): void {
    this.#pages.clear();
  }

  /** All that is kept of it; returns what came last. */
  forget(): Chunk[] {
    this.#pages.clear();
    return this.#chunks.splice(0);
  }

  #continue(entries: Entry[], limits: PageLimits): Chunk[] {
    // What comes next has left the table before anybody looked: who follows reads it, and the log is known behind it again.
    if (this.known!.id < this.head!.movedId) {
      this.known = undefined;
      return [];
    }
    const rest = entries.filter(({ id }) => id > this.known!.id);
    if (rest.length > 0) return this.add(rest, limits);
    // An entry that is longer than a look reads: who follows reads it alone, and the log is known behind it again.
    if (this.known!.id < this.head!.lastId) this.known = undefined;
    return [];
  }

  #turn(): void {
    this.turns++;
    this.known = undefined;
    this.forget();
  }

  /** Whole chunks only: what ends within one is read from the database, and so is what is to be proved by another fingerprint. */
  #recent(after: Position, { upTo, maxLevel }: Asked, limits: PageLimits): Page | undefined {
    const start = this.#chunks.findLastIndex(({ before }) => before.id === after.id);
    const first = this.#chunks[start];
    if (!first || first.end.id > upTo) return undefined;
    if (after.fingerprint && after.fingerprint !== first.before.fingerprint) return undefined;
    const pieces: Uint8Array[] = [];
    let [count, bytes, end] = [0, 0, start];
    for (; end < this.#chunks.length && this.#chunks[end]!.end.id <= upTo; end++) {
      const { before, levels, encoded } = this.#chunks[end]!;
      // Something between was not kept.
      if (end > start && before.id !== this.#chunks[end - 1]!.end.id) break;
      count += levels.length;
      bytes += encoded.bytes.length;
      if (end > start && (count > limits.entries || bytes > limits.bytes)) break;
      pieces.push(...(maxLevel === ALL_LEVELS ? [encoded.bytes] : matching(levels, encoded, maxLevel)));
    }
    const chunks = this.#chunks.slice(start, end);
    return {
      entries: chunks.reduce((sum, { levels }) => sum + levels.filter(level => level <= maxLevel).length, 0),
      bytes: pieces.length === 1 ? (pieces[0] as Buffer) : Buffer.concat(pieces),
      end: chunks.at(-1)!.end,
    };
  }

  #read(key: string, logs: Logs, after: Position, asked: Asked, limits: PageLimits) {
    const reading = readPage(logs, this.backupId, after, asked, limits);
    const forget = () => this.#pages.delete(key);
    reading.then(page => typeof page === 'string' && forget(), forget);
    return reading;
  }
}

/** A page by the database, and the store of what has left it. */
function readPage(
  logs: Logs,
  backupId: string,
  after: Position,
  { upTo, maxLevel, history = read => read() }: Asked,
  limits: PageLimits,
): Promise<Page | 'cut' | 'diverged'> {
  return history(() => readAfter(logs, backupId, after, { upTo, maxLevel, limits, field: ENTRIES }));
}

/** Whether what was known is still there, unless retention has removed it. */
function isSame(known: Position, head: Head, proof: Position): boolean {
  if (head.lastId < known.id) return false;
  return known.id < head.firstId || !known.fingerprint || known.fingerprint === proof.fingerprint;
}

function* parts(entries: readonly Entry[], limits: PageLimits): Iterable<Entry[]> {
  let some: Entry[] = [];
  let bytes = 0;
  for (const entry of entries) {
    if (some.length === limits.entries || (some.length > 0 && bytes + entry.message.length > limits.bytes)) {
      yield some;
      some = [];
      bytes = 0;
    }
    some.push(entry);
    bytes += entry.message.length;
  }
  if (some.length > 0) yield some;
}

function matching(levels: number[], { bytes, ends }: Encoded, maxLevel: number): Uint8Array[] {
  return ends.flatMap((end, i) => (levels[i]! <= maxLevel ? [bytes.subarray(ends[i - 1] ?? 0, end)] : []));
}

/** Of each log: readers at the same place with different filters, or a few readers of its history side by side. */
const PAGES = 4;
