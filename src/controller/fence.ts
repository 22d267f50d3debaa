import { ErrorReason, leaseLost, StatusError } from '../errors.ts';
import type { Shown } from './row.ts';

/**
 * Refuses a write to a controller that a worker holds, unless it is that worker's. The row must be locked: whoever takes the lease away has to
 * wait, or has done so already.
 */
export function refuseUnlessHolder(controller: Shown, leaseToken: string): void {
  if (leaseToken) {
    if (controller.leaseToken !== leaseToken.toLowerCase()) throw leaseLost(controller.backupId);
  } else if (controller.leaseToken) {
    throw leased(controller);
  }
}

function leased({ backupId, leaseWorker, leaseExpires }: Shown): StatusError {
  const expireTime = new Date(Number(leaseExpires)).toISOString();
  return new StatusError(ErrorReason.CONTROLLER_LEASED, `${leaseWorker} holds ${backupId} until ${expireTime}`, {
    metadata: { worker: leaseWorker, expire_time: expireTime },
  });
}
