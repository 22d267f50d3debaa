import { createHistogram } from 'node:perf_hooks';

/** What became of the entries that one replica had to deliver, over all logs. */
export class Tally {
  /** Appends that this replica has acknowledged. */
  written = 0;
  delivered = 0;
  missing = 0;
  duplicate = 0;
  outOfOrder = 0;
  /** Among what was delivered, or came after it was counted as missing. */
  late = 0;
  /** Microseconds from the answer to the append until the delivery, at least 1. */
  readonly latency = createHistogram();

  get faults(): number {
    return this.missing + this.duplicate + this.outOfOrder;
  }
}

export type Limits = {
  lateMs: number;
  missingAfterMs: number;
  /** Told of every delivery, with what it took. */
  observe(tally: Tally, latencyMs: number): void;
};

/** One that has to deliver a log. */
export type Reader = {
  readonly tally: Tally;
  /** Since when its stream is open; undefined while it is not. */
  openSince: number | undefined;
  /** The highest id delivered. */
  highest: bigint;
};

type Entry = { acknowledgedAt: number | undefined; got: Set<Reader>; lost: Set<Reader> };

/** The books of one log. All times are milliseconds of one clock that does not jump. */
export class Ledger {
  readonly readers: Reader[];
  readonly #limits: Limits;
  readonly #entries = new Map<number, Entry>();

  constructor(tallies: Tally[], afterId: bigint, limits: Limits) {
    this.readers = tallies.map(tally => ({ tally, openSince: undefined, highest: afterId }));
    this.#limits = limits;
  }

  /** Entries that are still remembered: those of the last `missingAfterMs`, and older ones while somebody owes them. */
  get size(): number {
    return this.#entries.size;
  }

  /** Whether an acknowledged entry is neither delivered by all nor counted as missing. */
  get owed(): boolean {
    return [...this.#entries.values()].some(entry => entry.acknowledgedAt !== undefined && !this.#settled(entry));
  }

  /** An entry with this number is about to be appended: it may be delivered before the append is answered. */
  began(number: number): void {
    this.#entries.set(number, { acknowledgedAt: undefined, got: new Set(), lost: new Set() });
  }

  acknowledged(number: number, now: number): void {
    const entry = this.#entries.get(number)!;
    entry.acknowledgedAt = now;
    for (const reader of entry.got) this.#count(reader, 0);
  }

  delivered(reader: Reader, number: number, id: bigint, now: number): void {
    const { tally } = reader;
    const entry = this.#entries.get(number);
    if (entry ? entry.got.has(reader) : id <= reader.highest) tally.duplicate++;
    else {
      if (id < reader.highest) tally.outOfOrder++;
      if (!entry || entry.lost.has(reader)) tally.late++;
      else if (entry.acknowledgedAt !== undefined) this.#count(reader, now - entry.acknowledgedAt);
      entry?.got.add(reader);
    }
    if (id > reader.highest) reader.highest = id;
  }

  /** Counts what is missing by now and forgets what is settled; at the `end` all that is owed is missing. */
  judge(now: number, end = false): void {
    for (const [number, entry] of this.#entries) {
      if (entry.acknowledgedAt === undefined) continue;
      for (const reader of this.readers) {
        if (entry.got.has(reader) || entry.lost.has(reader)) continue;
        if (!end && !this.#overdue(entry.acknowledgedAt, reader, now)) continue;
        entry.lost.add(reader);
        reader.tally.missing++;
      }
      if (this.#settled(entry) && now - entry.acknowledgedAt >= this.#limits.missingAfterMs)
        this.#entries.delete(number);
    }
  }

  /** A replica that is away has lost nothing yet; but nobody is waited for, and nothing remembered, for ever. */
  #overdue(acknowledgedAt: number, reader: Reader, now: number): boolean {
    const since = Math.max(acknowledgedAt, reader.openSince ?? now);
    return (
      now - since >= this.#limits.missingAfterMs ||
      now - acknowledgedAt >= LONGEST_ABSENCE + this.#limits.missingAfterMs
    );
  }

  #settled({ got, lost }: Entry): boolean {
    return got.size + lost.size >= this.readers.length;
  }

  #count({ tally }: Reader, latencyMs: number): void {
    tally.delivered++;
    if (latencyMs > this.#limits.lateMs) tally.late++;
    tally.latency.record(Math.max(1, Math.round(latencyMs * 1000)));
    this.#limits.observe(tally, latencyMs);
  }
}

/** Milliseconds. */
const LONGEST_ABSENCE = 3_600_000;
