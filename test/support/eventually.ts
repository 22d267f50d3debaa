import { setTimeout as delay } from 'node:timers/promises';

/** Waits until `check` no longer throws, and returns what it returns; after `ms` it fails with what `check` said last. */
export async function eventually<T>(check: () => T | Promise<T>, ms = 180_000): Promise<T> {
  for (const end = Date.now() + ms; ; ) {
    try {
      return await check();
    } catch (error) {
      if (Date.now() > end) throw error;
      await delay(5);
    }
  }
}
