import { randomUUID } from 'node:crypto';
import { ingestAll } from '../../support/ingesting.ts';
import { isPassing } from '../../support/status.ts';
import { Caller, type Scene } from '../caller.ts';

/** Writes numbered batches over streams, one stream after another for as long as they break. */
export async function streamLines(name: string, scene: Scene, backupId: string): Promise<void> {
  const { model, dice, replicas, stop } = scene;
  const caller = new Caller(name, scene);
  let turn = dice.below(2);
  while (!stop.aborted) {
    const begun = performance.now();
    const writerId = randomUUID();
    const batches = Array.from({ length: 10 }, (_, i) =>
      [0, 1, 2].map(n => `${name} ${writerId} batch ${i} line ${n}`),
    );
    model.trying(backupId, batches.flat());
    await ingestAll(() => replicas[turn++ % replicas.length]!, { backupId, writerId }, batches, undefined, isPassing);
    model.kept(batches.flat());
    model.answered(caller.name, begun);
  }
}
