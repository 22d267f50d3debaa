import { setTimeout as delay } from 'node:timers/promises';
import { isOutage } from './errors.ts';

/** Repeats a read while the database is away. Nothing is told meanwhile, so nothing that is told can be untrue. */
export async function rideOut<T>(read: () => Promise<T>, outageMs: number, stop: AbortSignal): Promise<T> {
  for (const began = performance.now(); ; ) {
    try {
      return await read();
    } catch (error) {
      if (stop.aborted || !isOutage(error) || performance.now() - began > outageMs) throw error;
      await delay(100, undefined, { signal: stop }).catch(() => {});
    }
  }
}
