import { setTimeout as delay } from 'node:timers/promises';
import { isOutage } from './errors.ts';

/** Repeats a read while the database is away. Nothing is told meanwhile, so nothing that is told can be untrue. */
export async function rideOut<T>(read: () => Promise<T>, outageMs: number, stop: AbortSignal): Promise<T> {
  for (const began = Date.now(); ; ) {
    try {
      return await read();
    } catch (error) {
      if (stop.aborted || !isOutage(error) || Date.now() - began > outageMs) throw error;
      await delay(100, undefined, { signal: stop }).catch(() => {});
    }
  }
}
