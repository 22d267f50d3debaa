import { BackOff, pause } from './back-off.ts';
import { failureOf, RpcError } from './error.ts';

/** How long a call may take, all attempts together. */
export type Limits = { timeoutMs: number; signal: AbortSignal | undefined };

/** Makes attempts until one succeeds, fails for good, or the time is over. Each is told how many milliseconds are left. */
export async function retrying<T>(
  attempt: (timeoutMs: number) => Promise<T>,
  { timeoutMs, signal }: Limits,
): Promise<T> {
  const end = performance.now() + timeoutMs;
  const backOff = new BackOff();
  for (let attempts = 1; ; attempts++) {
    signal?.throwIfAborted();
    try {
      return await attempt(end - performance.now());
    } catch (error) {
      const failure = failureOf(error, signal);
      const ms = backOff.next(failure);
      if (!mayPass(failure, attempts) || performance.now() + ms >= end) throw failure;
      await pause(ms, signal);
    }
  }
}

/** A token that expired on its way is replaced once: whoever has no fresh one should hear of it soon. */
function mayPass(failure: unknown, attempts: number): boolean {
  if (!(failure instanceof RpcError)) return false;
  return failure.passing || (failure.reason === 'TOKEN_EXPIRED' && attempts === 1);
}
