import { setTimeout as delay } from 'node:timers/promises';

/** Does something now and again after every interval, until it is disposed of; disposing waits for what is going on. */
export function periodic(intervalMs: number, work: (signal: AbortSignal) => Promise<void>): AsyncDisposable {
  const stop = new AbortController();
  const { signal } = stop;
  const run = async () => {
    while (!signal.aborted) {
      await work(signal);
      await delay(intervalMs, undefined, { signal }).catch(() => {});
    }
  };
  const running = run();
  return {
    async [Symbol.asyncDispose]() {
      stop.abort();
      await running;
    },
  };
}
