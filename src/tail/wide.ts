import { ErrorReason, StatusError } from '../errors.ts';
import { lifespan } from '../lifespan.ts';
import type { Position } from '../log/entry.ts';
import { matchesRun, readHeads } from '../log/head.ts';
import { rideOut } from '../outage.ts';
import { diverged } from './followed.ts';
import { Places } from './places.ts';
import { beginPlaces, placeLogs, readOn, settledAt, type WideRequest } from './placing.ts';
import type { EndReason, TailSource } from './tail.ts';
import { type Page, WatchedLog } from './watched.ts';

/** What a tail of many logs tells. `places` are where it continues after this event: until the next one. */
export type WideEvent = { places: Places } & (
  | { kind: 'started' }
  /** `last` when no more are about to come; only then it is worth while to say where it continues. */
  | { kind: 'entries'; backupId: string; page: Page; last: boolean }
  | { kind: 'caught_up' }
  | { kind: 'fell_behind'; lag: bigint }
  | { kind: 'checkpoint' }
  | { kind: 'truncated'; backupId: string; fromId: bigint; toId: bigint }
  | { kind: 'end'; reason: EndReason }
);

/**
 * Every entry of all logs that match, in the order of ids within each: those that are there, one log after the other, and then whatever moves,
 * in passes over all logs that have moved, a page of each. A log whose run begins to match is delivered from its first entry on when the
 * run is new; when the run has changed, from about then on.
 */
export async function* tailMany(
  source: TailSource,
  request: WideRequest,
  context: { signal: AbortSignal; wrapUp: AbortSignal },
): AsyncGenerator<WideEvent> {
  yield* lifespan<WideEvent>(source.options.maxAgeMs, context, stop => follow(source, request, stop), {
    isLast: event => event.kind === 'end',
    farewell: (reason, last) => ({ kind: 'end', reason, places: last?.places ?? UNTOLD }),
  });
}

/** Where a tail is that has not told yet where it starts. */
export const UNTOLD = new Places(0n, []);

async function* follow(source: TailSource, request: WideRequest, stop: AbortSignal): AsyncGenerator<WideEvent> {
  const { hub, source: logs, history, options } = source;
  const riding = <T>(read: () => Promise<T>) => rideOut(read, options.outageMs, stop);
  using reader = hub.joinAll();
  await reader.looked(performance.now(), stop);
  if (!reader.look) return;
  const { active } = reader.look;
  const places = await riding(() => beginPlaces(logs.pool, request, active, options.transactionMs));
  // What is to be delivered, up to where it stands.
  const todo = new Map<string, WatchedLog>();
  const refresh = async (backupIds: string[]) => {
    for (const [backupId, head] of await riding(() => readHeads(logs.pool, backupIds)))
      todo.set(backupId, new WatchedLog(backupId, head));
  };
  await refresh([...places.positions.keys()]);
  const unproved = new Set(request.start.from === 'places' ? places.positions.keys() : []);

  let live = false;
  let told = performance.now();
  const untilDue = () => told + options.heartbeatMs - performance.now();
  yield { kind: 'started', places };
  while (!stop.aborted) {
    reader.latch.clear();
    // In this order: everything that the look has found is among what has moved.
    const { look } = reader;
    const moved = request.follow ? reader.take() : [];
    const silent = untilDue() <= 0 && reader.hasLooked(told);
    for (const log of moved) if (places.isReached(log.backupId)) todo.set(log.backupId, log);
    await riding(() => placeLogs(logs, places, [...todo.values()], request.filter));
    if (todo.size === 0 && places.region) {
      for (const log of await riding(() => readOn(logs, places, request))) todo.set(log.backupId, log);
    }
    const lag = [...todo.values()].reduce((sum, log) => sum + places.lag(log), 0n);
    if (live && lag > options.page.entries * Math.max(1, todo.size)) {
      live = false;
      yield { kind: 'fell_behind', lag, places };
    }

    // Whether something was told without saying where it continues.
    let untold = false;
    const pass = [...todo.values()];
    for (const log of pass) {
      for await (const event of deliver(log)) {
        const last = log === pass.at(-1);
        told = performance.now();
        untold = event.kind === 'entries' && !last;
        yield event.kind === 'entries' ? { ...event, last } : event;
      }
    }
    if (places.positions.size > MOST_POSITIONS) throw tooMany();

    const delivered = todo.size === 0 && !places.region;
    if (todo.size === 0 && look) places.advance(settledAt(look.active.at, options.transactionMs));
    if (delivered && !live) {
      live = true;
      reader.behind = () => {
        const waiting = new Map([...todo, ...reader.moved]);
        return [...waiting.values()].reduce((sum, log) => sum + places.lag(log), 0n);
      };
      untold = false;
      told = performance.now();
      yield { kind: 'caught_up', places };
      if (!request.follow) return yield { kind: 'end', reason: 'NOT_FOLLOWING', places };
    }
    if (untold || silent) {
      told = performance.now();
      yield { kind: 'checkpoint', places };
    }
    if (delivered) await reader.latch.wait(untilDue() > 0 ? untilDue() : options.heartbeatMs, stop);
  }

  /** A page of a log, which is done when there is no more. */
  async function* deliver(log: WatchedLog): AsyncGenerator<WideEvent> {
    const { backupId } = log;
    const head = log.head!;
    const place = places.positions.get(backupId);
    if (!head.exists) places.positions.delete(backupId);
    if (!head.exists || !place || !matchesRun(request.filter, head)) {
      todo.delete(backupId);
      places.settle(backupId, head);
      return;
    }
    if (place.position.id > head.lastId || isOther(log, place.position)) throw diverged(backupId);
    const fromId = place.position.id + 1n;
    if (fromId < head.firstId) {
      place.position = { id: head.firstId - 1n, fingerprint: '' };
      yield { kind: 'truncated', backupId, fromId, toId: head.firstId - 1n, places };
    }
    if (place.position.id < head.lastId || unproved.delete(backupId)) {
      const asked = { upTo: head.lastId, maxLevel: request.maxLevel, history: live ? undefined : history };
      const page = await riding(async () => log.page(logs, place.position, asked, options.page));
      if (page === 'diverged') throw diverged(backupId);
      // Retention has come in between: the head says what has happened.
      if (page === 'cut') return refresh([backupId]);
      place.position = page.end;
      if (page.entries > 0) yield { kind: 'entries', backupId, page, last: false, places };
    }
    if (place.position.id >= log.head!.lastId) {
      todo.delete(backupId);
      places.settle(backupId, log.head!);
    }
  }
}

/** Whether the last entry is known to be another one than that which was delivered. */
function isOther({ known }: WatchedLog, { id, fingerprint }: Position): boolean {
  return fingerprint !== '' && known?.id === id && known.fingerprint !== fingerprint;
}

function tooMany(): StatusError {
  return new StatusError(ErrorReason.TAIL_TOO_WIDE, `more than ${MOST_POSITIONS} logs are growing: narrow the filter`);
}

/** What fits into a token. */
const MOST_POSITIONS = 15_000;
