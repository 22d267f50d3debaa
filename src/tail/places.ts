import type { Position } from '../log/entry.ts';
import type { Head } from '../log/head.ts';
import type { PlainStart } from './start.ts';

/** How far a log was delivered, and what is known of it then: when it grew last (epoch microseconds), and when its run was created (seconds). */
export type Place = { position: Position; lastMicros: bigint; createdAt: bigint };

/** Logs up to an id: delivered as far as they went at a time (epoch microseconds), or to be begun with. */
export type Region = {
  upTo: string;
  at: bigint;
  start?: PlainStart;
  /** With a start: where those stood when the tail began that were active around that time. */
  lastIds?: Map<string, bigint>;
  /** Whether the tail has come to them already. */
  passed?: true;
};

/** Behind all backup ids. */
export const END = 'g';

/**
 * How far a tail of many logs has come, small enough for a token: a time up to which all was delivered, and positions only of the logs that
 * have grown since then. The time stays so far behind that whatever may still become visible has a later one.
 *
 * A tail that begins, or comes back, goes through the logs in the order of their ids. Those that it has yet to come to are in regions, of which
 * the one that it came back with keeps its own time.
 */
export class Places {
  /** For logs up to the cursor. */
  at: bigint;
  cursor = '';
  readonly regions: Region[];
  readonly positions: Map<string, Place>;

  constructor(at: bigint, regions: Region[], positions = new Map<string, Place>()) {
    this.at = at;
    this.regions = regions;
    this.positions = positions;
  }

  /** Continues where another tail was. */
  static resumed(at: bigint, { at: before, cursor, regions, positions }: Places): Places {
    const behind = cursor === '' ? [] : [{ upTo: cursor, at: before }];
    return new Places(at, [...behind, ...regions], positions);
  }

  /** The logs to go through next. */
  get region(): Region | undefined {
    return this.regions[0];
  }

  /** What is known of a log without a position. */
  regionOf(backupId: string): Region {
    if (backupId <= this.cursor) return { upTo: this.cursor, at: this.at, passed: true };
    return this.regions.find(({ upTo }) => backupId <= upTo)!;
  }

  /** Whether it is this tail's turn: what it has yet to come to is left until then. */
  isReached(backupId: string): boolean {
    return backupId <= this.cursor || this.positions.has(backupId);
  }

  /** The logs of the region up to this id have positions now, or need none. */
  reach(backupId: string): void {
    this.cursor = backupId;
    if (backupId === this.region?.upTo) this.regions.shift();
  }

  /** Entries that a log has behind its position. */
  lag({ backupId, head }: { backupId: string; head: Head | undefined }): bigint {
    const id = this.positions.get(backupId)?.position.id;
    return id === undefined || !head || head.lastId < id ? 0n : head.lastId - id;
  }

  /** A log was delivered as far as it goes. */
  settle(backupId: string, { lastMicros, run }: Head): void {
    const place = this.positions.get(backupId);
    if (!place) return;
    place.lastMicros = lastMicros;
    place.createdAt = run?.createdAt ?? 0n;
    this.#forget(backupId, place);
  }

  /** Everything was delivered up to a time: what has not grown since then needs no position any more. */
  advance(at: bigint): void {
    if (at <= this.at) return;
    this.at = at;
    for (const [backupId, place] of this.positions) this.#forget(backupId, place);
  }

  #forget(backupId: string, { lastMicros, createdAt }: Place): void {
    const old = lastMicros <= this.at && createdAt < this.at / 1_000_000n;
    if (old && backupId <= this.cursor) this.positions.delete(backupId);
  }
}
