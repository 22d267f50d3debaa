import { LockMode } from '@mikro-orm/core';
import type { EntityManager } from '@mikro-orm/postgresql';
import { etagOf, notFound } from '../controller/change.ts';
import { Controller } from '../controller/entity.ts';
import { refuseUnlessHolder } from '../controller/fence.ts';
import { refuseWhenFinished } from '../controller/transition.ts';
import { ErrorReason, leaseLost, StatusError } from '../errors.ts';

/** For which controller an upload is, and by whom; empty is not given. */
export type Receiver = { backupId: string; leaseToken: string; etag: string };

/**
 * Refuses an upload that its controller does not take. Before the upload it saves sending what nobody wants; only with the row locked, until
 * the transaction ends, is it proved.
 */
export async function refuseUpload(
  em: EntityManager,
  { backupId, leaseToken, etag }: Receiver,
  lockMode: LockMode = LockMode.NONE,
): Promise<void> {
  const controller = await em.findOne(Controller, backupId, { lockMode });
  if (!controller) throw leaseToken ? leaseLost(backupId) : notFound(backupId);
  // First of all: who has lost the lease is to hear that, whatever became of the run since.
  refuseUnlessHolder(controller, leaseToken);
  if (etag && etag !== etagOf(controller)) {
    throw new StatusError(ErrorReason.ETAG_MISMATCH, `controller ${backupId} has changed since it was read`);
  }
  refuseWhenFinished(controller);
}
