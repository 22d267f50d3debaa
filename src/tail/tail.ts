import { type Farewell, lifespan } from '../lifespan.ts';
import type { PageLimits } from '../log/page.ts';
import { rideOut } from '../outage.ts';
import type { Logs } from '../segment/archive.ts';
import { diverged, FollowedLog } from './followed.ts';
import type { Hub } from './hub.ts';
import { type Start, startPositions } from './start.ts';
import type { Page, ReadHistory } from './watched.ts';

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
  /** How often a silent tail tells where it is. */
  heartbeatMs: number;
  /** How old a tail may become; each one gets 80 to 120 % of it, so that those that began together do not end together. */
  maxAgeMs: number;
  /** How long the database may be away before a tail gives up. */
  outageMs: number;
  /** How long a transaction may take. */
  transactionMs: number;
};

export type EndReason = 'SEALED' | 'DELETED' | 'NOT_FOLLOWING' | Farewell;

/** What a tail tells. `logs` are those that it follows, and where it continues after this event: until the next one. */
export type TailEvent = { logs: readonly FollowedLog[] } & (
  | { kind: 'started' }
  | { kind: 'entries'; backupId: string; page: Page }
  | { kind: 'caught_up' }
  | { kind: 'fell_behind'; lag: bigint }
  | { kind: 'checkpoint' }
  | { kind: 'truncated'; backupId: string; fromId: bigint; toId: bigint }
  | { kind: 'state'; backupId: string; status: number; progress: string }
  | { kind: 'end'; reason: EndReason; backupId?: string }
);

export type TailSource = {
  hub: Hub;
  source: Logs;
  /** How pages are read until a tail has caught up; those behind that come from the primary. */
  history?: ReadHistory | undefined;
  options: TailOptions;
};

/**
 * Every entry of some logs from a start on, in the order of ids within each: one loop over pages for history and live alike. It delivers what
 * is there, and when there is no more waits to be woken. Nothing is kept for a subscriber but its positions: the reader's speed sets
 * the pace, and a slow one reads later. `signal` stops it without a word; `wrapUp` lets it say where it was.
 */
export async function* tail(
  source: TailSource,
  request: TailRequest,
  context: { signal: AbortSignal; wrapUp: AbortSignal },
): AsyncGenerator<TailEvent> {
  yield* lifespan(source.options.maxAgeMs, context, stop => follow(source, request, stop), {
    isLast: event => event.kind === 'end',
    farewell: (reason, last) => ({ kind: 'end', reason, logs: last?.logs ?? [] }),
  });
}

async function* follow(
  { hub, source, history, options }: TailSource,
  request: TailRequest,
  stop: AbortSignal,
): AsyncGenerator<TailEvent> {
  const { backupIds, maxLevel } = request;
  const riding = <T>(read: () => Promise<T>) => rideOut(read, options.outageMs, stop);

  const starts = await riding(() => startPositions(source, backupIds, request.start, maxLevel));
  using reader = hub.join(backupIds);
  await reader.looked(performance.now(), stop);
  const logs = reader.logs.map(log => new FollowedLog(log, starts.get(log.backupId)!));

  let started = false;
  let live = false;
  let told = performance.now();
  const untilDue = () => told + options.heartbeatMs - performance.now();
  while (!stop.aborted) {
    reader.latch.clear();
    const silent = untilDue() <= 0 && reader.hasLooked(told);
    if (!started) yield { kind: 'started', logs };
    // A claim about a position is proved first: after a failover the log may have been written anew exactly up to it.
    let proving = !started || silent;
    for (const log of logs) {
      proving = log.hasTurned() || proving;
      if (log.isGone()) return yield { kind: 'end', reason: 'DELETED', backupId: log.backupId, logs };
      const missing = log.look(request, started);
      if (missing) yield { kind: 'truncated', backupId: log.backupId, ...missing, logs };
    }
    started = true;

    const lag = logs.reduce((sum, log) => sum + log.lag, 0n);
    if (live && lag > options.page.entries) {
      live = false;
      yield { kind: 'fell_behind', lag, logs };
    }
    for (const log of logs) {
      if (log.lag === 0n && !(proving && !log.proved)) continue;
      const asked = { upTo: log.target, maxLevel, history: live ? undefined : history };
      const page = await riding(async () => log.log.page(source, log.position, asked, options.page));
      if (page === 'diverged') throw diverged(log.backupId);
      if (page === 'cut') {
        await reader.looked(performance.now(), stop); // which says what has happened
        continue;
      }
      log.position = page.end;
      // The next one is read while this one is on its way.
      if (log.lag >= BigInt(options.page.entries)) log.log.readAhead(source, page.end, asked, options.page);
      if (page.entries > 0) {
        told = performance.now();
        yield { kind: 'entries', backupId: log.backupId, page, logs };
      }
    }
    for (const log of logs) {
      const run = log.newState();
      if (run) yield { kind: 'state', backupId: log.backupId, status: run.status, progress: run.progress, logs };
    }

    const delivered = logs.every(log => log.lag === 0n);
    if (delivered && request.untilFinished && logs.every(log => log.sealed)) {
      return yield { kind: 'end', reason: 'SEALED', logs };
    }
    if (delivered && !live) {
      live = true;
      reader.behind = () => logs.reduce((sum, log) => sum + log.behind, 0n);
      told = performance.now();
      yield { kind: 'caught_up', logs };
      if (!request.follow) return yield { kind: 'end', reason: 'NOT_FOLLOWING', logs };
    }
    if (silent) {
      told = performance.now();
      yield { kind: 'checkpoint', logs };
    }
    // A look that is due, because nothing may be claimed without one, wakes.
    if (delivered) await reader.latch.wait(untilDue() > 0 ? untilDue() : options.heartbeatMs, stop);
  }
}
