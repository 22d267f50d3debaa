import { setTimeout as delay } from 'node:timers/promises';

/** Tries again while it is somebody else's lock that it has failed for: those who wait behind it can go on in between. */
export async function whileLocked<T>(
  work: () => Promise<T>,
  { attempts, pauseMs }: { attempts: number; pauseMs: number },
): Promise<T> {
  for (let attempt = 1; ; attempt++) {
    try {
      return await work();
    } catch (error) {
      if (!isLocked(error) || attempt === attempts) throw error;
      await delay(pauseMs);
    }
  }
}

/** Whether it has waited for a lock for too long, or stood in the way of somebody. */
function isLocked(error: unknown): boolean {
  for (let at = error; at instanceof Error; at = at.cause) {
    if (/^(55P03|40P01)$/.test((at as { code?: string }).code ?? '')) return true;
  }
  return false;
}
