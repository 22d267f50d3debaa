import { LockMode } from '@mikro-orm/core';
import type { EntityManager } from '@mikro-orm/postgresql';
import { ErrorReason, StatusError } from '../errors.ts';
import { Controller } from './entity.ts';
import type { Shown } from './row.ts';

/** Which controller, and as it was read when; an empty etag does not matter. */
export type Which = { backupId: string; etag: string };

/** Changes a controller under its row's lock. */
export async function change(
  em: EntityManager,
  which: Which,
  how: (controller: Controller) => void | Promise<void>,
): Promise<Controller> {
  const controller = await locked(em, which);
  await how(controller);
  // `now` is from before the wait for the lock: another change may have been given a later time.
  if (controller.now > controller.updatedAt) controller.updatedAt = controller.now;
  await em.flush();
  return controller;
}

/** A controller, its row locked until the transaction ends, with `now`. */
export async function locked(em: EntityManager, { backupId, etag }: Which): Promise<Controller> {
  const controller = await em.findOne(Controller, backupId, {
    lockMode: LockMode.PESSIMISTIC_WRITE,
    populate: ['now'],
  });
  if (!controller) throw notFound(backupId);
  if (etag && etag !== etagOf(controller)) {
    throw new StatusError(ErrorReason.ETAG_MISMATCH, `controller ${backupId} has changed since it was read`);
  }
  return controller;
}

export function notFound(backupId: string): StatusError {
  return new StatusError(ErrorReason.CONTROLLER_NOT_FOUND, `there is no controller ${backupId}`);
}

/** The id is part of it: a controller that was deleted and created anew has counted from 1 again. */
export function etagOf({ id, revision }: Shown): string {
  return `${id}.${revision}`;
}
