import { ErrorReason, isOutage, retryAfter, StatusError } from './errors.ts';

/** Why a long stream ends that could have gone on. */
export type Farewell = 'MAX_AGE' | 'DRAINING' | 'SLOW_CONSUMER' | 'TOKEN_EXPIRED';

/** How a stream says its last words, given the last event that was told, and which of its events are last words of its own. */
export type LastWords<T> = { isLast(event: T): boolean; farewell(reason: Farewell, last: T | undefined): T };

/**
 * The life of a long stream. It tells what `tell` does until that has said its last word, or until it has to stop: because it is old enough
 * (`maxAgeMs`, of which each one gets 80 to 120 %, so that those that began together do not end together) or because `wrapUp` says so. Then it
 * says farewell. `signal` stops it without a word.
 */
export async function* lifespan<T>(
  maxAgeMs: number,
  { signal, wrapUp }: { signal: AbortSignal; wrapUp: AbortSignal },
  tell: (stop: AbortSignal) => AsyncIterable<T>,
  { isLast, farewell }: LastWords<T>,
): AsyncGenerator<T> {
  const ending = new AbortController();
  const stop = ending.signal;
  const end = () => ending.abort();
  const age = setTimeout(end, maxAgeMs * (0.8 + 0.4 * Math.random()));
  // Not by `AbortSignal.any`: a signal that is composed of others asks them each time that it is asked.
  for (const cause of [signal, wrapUp]) {
    if (cause.aborted) end();
    cause.addEventListener('abort', end, { once: true });
  }
  let last: T | undefined;
  try {
    for await (const event of tell(stop)) {
      last = event;
      yield event;
      if (isLast(event)) return;
      if (stop.aborted) break;
    }
  } catch (error) {
    if (!stop.aborted || !isOutage(error)) throw error;
  } finally {
    clearTimeout(age);
    for (const cause of [signal, wrapUp]) cause.removeEventListener('abort', end);
  }
  if (signal.aborted) return;
  const reason: Farewell = wrapUp.aborted ? wrapUp.reason : 'MAX_AGE';
  yield farewell(reason, last);
  if (reason === 'DRAINING') {
    // Not OK, so that ordinary retry policies come back, to another replica.
    throw new StatusError(ErrorReason.DRAINING, 'this replica is shutting down', { details: [retryAfter(100)] });
  }
  if (reason === 'TOKEN_EXPIRED') throw new StatusError(ErrorReason.TOKEN_EXPIRED, 'the token has expired');
}
