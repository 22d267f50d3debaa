import { strict as assert } from 'node:assert';
import type { MessageInitShape } from '@bufbuild/protobuf';
import {
  type ClaimControllersRequestSchema,
  type ClaimedController,
  type CreateControllerRequestSchema,
  type Controller,
  Execution,
  Operation,
  Purpose,
  Status,
  Type,
} from '../../../src/gen/backup/v1/controller_pb.ts';
import type { Replica } from '../../support/backend.ts';

type With = Pick<Replica, 'controllers'>;

/** A run that waits for a worker. */
export async function queued(
  { controllers }: With,
  more: MessageInitShape<typeof CreateControllerRequestSchema> = {},
): Promise<Controller> {
  const { controller } = await controllers.createController({
    operation: Operation.BACKUP,
    type: Type.COURSE,
    purpose: Purpose.ASYNC,
    status: Status.AWAITING,
    execution: Execution.DELAYED,
    ...more,
  });
  return controller!;
}

/** What a worker is given. */
export async function claimed(
  { controllers }: With,
  more: MessageInitShape<typeof ClaimControllersRequestSchema> = {},
): Promise<ClaimedController[]> {
  return (await controllers.claimControllers({ worker: 'w', ...more })).claimed;
}

/** A run that a worker holds: its backup id and its token. */
export async function held(
  replica: With,
  { run = {}, claim = {} }: {
    run?: MessageInitShape<typeof CreateControllerRequestSchema>;
    claim?: MessageInitShape<typeof ClaimControllersRequestSchema>;
  } = {},
): Promise<{ backupId: string; leaseToken: string }> {
  const { backupId } = await queued(replica, run);
  const [one, ...others] = await claimed(replica, claim);
  assert.deepEqual([one!.controller!.backupId, others], [backupId, []]);
  return { backupId, leaseToken: one!.leaseToken };
}

export async function get({ controllers }: With, backupId: string): Promise<Controller> {
  return (await controllers.getController({ backupId })).controller!;
}
