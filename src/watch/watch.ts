import type { Sql } from '../db/sql.ts';
import { type Farewell, lifespan } from '../lifespan.ts';
import { rideOut } from '../outage.ts';
import type { Hub } from './hub.ts';
import { readChanged } from './read.ts';
import type { Wish } from './view.ts';
import type { Part, Watcher } from './watcher.ts';

export type WatchOptions = {
  /** How often a silent watch tells where it is. */
  heartbeatMs: number;
  /** How old a watch may become: 80 to 120 % of it. */
  maxAgeMs: number;
  /** How long the database may be away before a watch gives up. */
  outageMs: number;
  /** How long deletions are remembered. */
  retentionMs: number;
  /** How long a transaction may take: what commits late has an earlier time than what was told before it. */
  transactionMs: number;
  /** How many controllers, and ids of removed ones, a message has. */
  perMessage: number;
  /** With more changes than this since its token a watch begins anew. */
  mostChanges: number;
};

export type WatchRequest = {
  wish: Wish;
  /** Up to when everything was told already: epoch seconds of the database's clock. */
  since: number | undefined;
  /** Of ids: end when each has finished or was deleted. */
  untilFinished: boolean;
};

/** What a watch tells. `reset`: whatever was told before is to be forgotten. */
export type Told = ({ end?: undefined; reset: boolean } & Part) | { end: 'FINISHED' | Farewell };

export type WatchSource = { hub: Hub; sql: Sql; options: WatchOptions };

/**
 * The latest state of what is wished for and of every change after that. Nothing is kept for a watch but what it has still to be told: the
 * reader's speed sets the pace. `signal` stops it without a word; `wrapUp` lets it say why it ends.
 */
export function watch(
  source: WatchSource,
  request: WatchRequest,
  context: { signal: AbortSignal; wrapUp: AbortSignal },
): AsyncGenerator<Told> {
  return lifespan<Told>(source.options.maxAgeMs, context, stop => follow(source, request, stop), {
    isLast: told => told.end !== undefined,
    farewell: reason => ({ end: reason }),
  });
}

async function* follow(source: WatchSource, request: WatchRequest, stop: AbortSignal): AsyncGenerator<Told> {
  const { heartbeatMs, perMessage } = source.options;
  using watcher = source.hub.join(request.wish);
  while (!watcher.begun && !stop.aborted) await watcher.wait(heartbeatMs, stop);
  if (stop.aborted) return;
  let reset = !(await resumed(source, request, watcher, stop));
  if (reset) watcher.tellAll();

  let told = Number.NEGATIVE_INFINITY;
  while (!stop.aborted) {
    const part = watcher.take(perMessage);
    if (part || performance.now() - told >= heartbeatMs) {
      told = performance.now();
      yield { reset, ...(part ?? { states: [], removed: [], checkpoint: watcher.view.checkpoint }) };
      reset = false;
      continue;
    }
    if (request.untilFinished && watcher.allOver) return yield { end: 'FINISHED' };
    await watcher.wait(Math.max(0, told + heartbeatMs - performance.now()), stop);
  }
}

/** Notes what has to be told to go on from a token; false when that is not known any more, or more than all there is. */
async function resumed(
  { sql, options }: WatchSource,
  { since }: WatchRequest,
  watcher: Watcher,
  stop: AbortSignal,
): Promise<boolean> {
  if (since === undefined) return false;
  const from = since - Math.ceil(options.transactionMs / 1000);
  // The time of a transaction on the safe side: deletions are being forgotten while we read.
  const forgotten = watcher.view.at - Math.floor((options.retentionMs - options.transactionMs) / 1000);
  if (from <= forgotten) return false;
  // Of ids the view knows itself which were deleted.
  const read = () => (watcher.view.wish.ids ? Promise.resolve([]) : readChanged(sql, from, options.mostChanges + 1));
  const changed = await rideOut(read, options.outageMs, stop);
  if (changed.length > options.mostChanges) return false;
  watcher.tellSince(from, changed);
  return true;
}
