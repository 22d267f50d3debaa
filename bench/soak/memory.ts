// Imported before a program (node --expose-gc --import): on SIGUSR2 it writes what memory that program uses after a collection, and what keeps
// it alive, as a line of JSON to the file SOAK_MEMORY.
import { appendFileSync } from 'node:fs';

process.on('SIGUSR2', () => {
  // What only a finalizer lets go of is let go of by the second one.
  globalThis.gc!();
  globalThis.gc!();
  const { rss, heapUsed, external } = process.memoryUsage();
  const resources: Record<string, number> = {};
  for (const name of process.getActiveResourcesInfo()) resources[name] = (resources[name] ?? 0) + 1;
  appendFileSync(process.env['SOAK_MEMORY']!, `${JSON.stringify({ rss, heapUsed, external, resources })}\n`);
});
