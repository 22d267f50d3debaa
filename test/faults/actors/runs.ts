import { randomUUID } from 'node:crypto';
import { setTimeout as delay } from 'node:timers/promises';
import { Execution, Operation, Purpose, Status, Type } from '../../../src/gen/backup/v1/controller_pb.ts';
import { newBackupId } from '../../support/writing.ts';
import { Caller, type Scene } from '../caller.ts';

/** Of the runs that are there for workers. */
export const FORMAT = 'faults';

/** Queues runs for the workers, as fast as they may be expected to do them. */
export async function queueRuns(name: string, scene: Scene, queued: Set<string>): Promise<void> {
  const caller = new Caller(name, scene);
  while (!scene.stop.aborted) {
    const backupId = newBackupId();
    const request = {
      backupId,
      operation: Operation.BACKUP,
      type: Type.COURSE,
      purpose: Purpose.ASYNC,
      status: Status.AWAITING,
      execution: Execution.DELAYED,
      format: FORMAT,
      maxAttempts: 1 + scene.dice.below(3),
      requestId: randomUUID(),
    };
    await caller.ask((replica, options) => replica.controllers.createController(request, options));
    queued.add(backupId);
    await delay(scene.dice.below(60));
  }
}
