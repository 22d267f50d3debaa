import { Session } from 'node:inspector/promises';

/** What this process uses after a collection of garbage, in bytes. (To turn `gc` on in V8 once it runs may abort the process.) */
export async function memoryInUse(): Promise<number> {
  const session = new Session();
  session.connect();
  await session.post('HeapProfiler.collectGarbage');
  session.disconnect();
  const { heapUsed, external } = process.memoryUsage();
  return heapUsed + external;
}
