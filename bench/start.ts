import { join } from 'node:path';
import { alternate, compareCost, type Figure } from './figure.ts';
import { createDatabase, type Service, startProgram, startService } from './service.ts';

/**
 * From the start of the process until it says where it serves, as `npm start` does with a DATABASE_URL; the first start, which makes the tables, is
 * not counted. The ceiling is a Node that imports the transport and the ORM.
 */
export async function starts(serverUrl: string, rounds: number): Promise<Figure[]> {
  const url = await createDatabase(serverUrl, 'bench_start');
  await timed(() => startService(url));
  const ms = await alternate(
    [
      { name: 'start service', run: () => timed(() => startService(url)) },
      {
        name: 'start imports alone',
        run: () => timed(() => startProgram(join(import.meta.dirname, 'imports-alone.ts'), {})),
      },
    ],
    rounds,
    'ms',
  );
  const [mine, ceiling] = [...ms.values()];
  return [compareCost('start', mine!, ceiling!, 2, 'ms')];
}

async function timed(start: () => Promise<Service>): Promise<number> {
  const began = performance.now();
  await using _service = await start();
  return performance.now() - began;
}
