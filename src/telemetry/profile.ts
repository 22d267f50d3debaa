import { mkdir, writeFile } from 'node:fs/promises';
import { Session } from 'node:inspector/promises';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { writeHeapSnapshot } from 'node:v8';

/**
 * Writes what the processor does within the next `ms`, and then all that is in memory, to a folder, which is made for this user alone if it is not
 * there: memory holds what users wrote, and secrets. Returns both paths. For the snapshot the process stands still.
 */
export async function profile(folder: string, ms: number): Promise<{ processor: string; heap: string }> {
  await mkdir(folder, { recursive: true, mode: 0o700 });
  const name = join(folder, `${new Date().toISOString().replaceAll(':', '-')}-${process.pid}`);
  const session = new Session();
  session.connect();
  try {
    await session.post('Profiler.enable');
    await session.post('Profiler.start');
    await delay(ms);
    const { profile } = await session.post('Profiler.stop');
    await writeFile(`${name}.cpuprofile`, JSON.stringify(profile), { mode: 0o600 });
  } finally {
    session.disconnect();
  }
  return { processor: `${name}.cpuprofile`, heap: writeHeapSnapshot(`${name}.heapsnapshot`) };
}
