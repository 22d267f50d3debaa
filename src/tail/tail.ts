import type { Pool } from 'pg';
import type { Doorbell } from '../db/doorbell.ts';
import { type Farewell, lifespan } from '../lifespan.ts';
import { type Head, readHeads } from '../log/head.ts';
import { type Entry, type PageLimits, type Position, readAfter } from '../log/page.ts';
import { rideOut } from '../outage.ts';
import { diverged, FollowedLog } from './followed.ts';
import { type Start, startPositions } from './start.ts';

export type TailRequest = {
  backupIds: readonly string[];
  start: Start;
  maxLevel: number;
  follow: boolean;
  /** While following: end when every log was delivered up to its seal. */
  untilFinished: boolean;
};

export type TailOptions = {
  page: PageLimits;
  /** How often to look without having been woken: the most by which a lost ring delays an entry. */
  pollMs: number;
  /** How often a silent tail tells where it is. */
  heartbeatMs: number;
  /** How old a tail may become; each one gets 80 to 120 % of it, so that those that began together do not end together. */
  maxAgeMs: number;
  /** How long the database may be away before a tail gives up. */
  outageMs: number;
};

export type EndReason = 'SEALED' | 'DELETED' | 'NOT_FOLLOWING' | Farewell;

/** What a tail tells. `positions` are where it continues after this event. */
export type TailEvent = { positions: ReadonlyMap<string, Position> } & (
  | { kind: 'started'; heads: ReadonlyMap<string, Head> }
  | { kind: 'entries'; backupId: string; entries: Entry[] }
  | { kind: 'caught_up' }
  | { kind: 'fell_behind'; lag: bigint }
  | { kind: 'checkpoint' }
  | { kind: 'truncated'; backupId: string; fromId: bigint; toId: bigint }
  | { kind: 'state'; backupId: string; status: number; progress: string }
  | { kind: 'end'; reason: EndReason; backupId?: string }
);

export type TailSource = { pool: Pool; doorbell: Doorbell; options: TailOptions };

/**
 * Every entry of some logs from a start on, in the order of ids within each: one loop over pages for history and live alike. It subscribes,
 * reads what is there, and when there is no more waits to be woken. Nothing is kept for a subscriber but its positions: the reader's speed
 * sets the pace, and a slow one reads later. `signal` stops it without a word; `wrapUp` lets it say where it was.
 */
export async function* tail(
  source: TailSource,
  request: TailRequest,
  context: { signal: AbortSignal; wrapUp: AbortSignal },
): AsyncGenerator<TailEvent> {
  yield* lifespan(source.options.maxAgeMs, context, stop => follow(source, request, stop), {
    isLast: event => event.kind === 'end',
    farewell: (reason, last) => ({ kind: 'end', reason, positions: last?.positions ?? new Map() }),
  });
}

async function* follow(source: TailSource, request: TailRequest, stop: AbortSignal): AsyncGenerator<TailEvent> {
  const { pool, options } = source;
  const { backupIds, maxLevel } = request;
  // Before the first look, so that nothing can be written unnoticed between a look and a wait.
  using latch = source.doorbell.subscribe(backupIds);
  const riding = <T>(read: () => Promise<T>) => rideOut(read, options.outageMs, stop);

  const starts = await riding(() => startPositions(pool, backupIds, request.start, maxLevel));
  const logs = backupIds.map(id => new FollowedLog(id, starts.get(id)!));
  const positions = () => new Map(logs.map(log => [log.backupId, log.position]));

  let started = false;
  let live = false;
  let told = Date.now();
  while (!stop.aborted) {
    latch.clear();
    const heads = await riding(() => readHeads(pool, backupIds));
    if (!started) yield { kind: 'started', heads, positions: positions() };
    for (const log of logs) {
      const head = heads.get(log.backupId)!;
      if (log.isGone(head))
        return yield { kind: 'end', reason: 'DELETED', backupId: log.backupId, positions: positions() };
      const missing = log.look(head, request, started);
      if (missing) yield { kind: 'truncated', backupId: log.backupId, ...missing, positions: positions() };
    }
    // A claim about a position is proved first: after a failover the log may have been written anew exactly up to it.
    const silent = () => Date.now() - told >= options.heartbeatMs;
    const proving = !started || silent();
    started = true;

    const lag = logs.reduce((sum, log) => sum + log.lag, 0n);
    if (live && lag > options.page.entries) {
      live = false;
      yield { kind: 'fell_behind', lag, positions: positions() };
    }
    for (const log of logs) {
      if (log.lag === 0n && !(proving && log.position.fingerprint)) continue;
      const page = await riding(() =>
        readAfter(pool, log.backupId, log.position, { upTo: log.target, maxLevel, limits: options.page }),
      );
      if (page === 'diverged') throw diverged(log.backupId);
      if (page === 'cut') continue; // the next look says what has happened
      log.position = page.end;
      if (page.entries.length > 0) {
        told = Date.now();
        yield { kind: 'entries', backupId: log.backupId, entries: page.entries, positions: positions() };
      }
    }
    for (const log of logs) {
      const run = log.newState();
      if (run) yield { kind: 'state', backupId: log.backupId, ...run, positions: positions() };
    }

    const delivered = logs.every(log => log.lag === 0n);
    if (delivered && request.untilFinished && logs.every(log => log.sealed)) {
      return yield { kind: 'end', reason: 'SEALED', positions: positions() };
    }
    if (delivered && !live) {
      live = true;
      told = Date.now();
      yield { kind: 'caught_up', positions: positions() };
      if (!request.follow) return yield { kind: 'end', reason: 'NOT_FOLLOWING', positions: positions() };
    }
    if (proving && silent()) {
      told = Date.now();
      yield { kind: 'checkpoint', positions: positions() };
    }
    if (delivered) await latch.wait(Math.min(options.pollMs, told + options.heartbeatMs - Date.now()), stop);
  }
}
