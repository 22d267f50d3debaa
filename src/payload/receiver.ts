import { etagOf, notFound } from '../controller/change.ts';
import { refuseUnlessHolder } from '../controller/fence.ts';
import { fromRow, shownColumns } from '../controller/row.ts';
import { refuseWhenFinished } from '../controller/transition.ts';
import type { Sql } from '../db/sql.ts';
import { ErrorReason, leaseLost, StatusError } from '../errors.ts';

/** For which controller an upload is, and by whom; empty is not given. */
export type Receiver = { backupId: string; leaseToken: string; etag: string };

/**
 * Refuses an upload that its controller does not take. Before the upload it saves sending what nobody wants; only `locked`, which keeps
 * the row as it is until the transaction ends, proves it.
 */
export async function refuseUpload(
  sql: Sql,
  { backupId, leaseToken, etag }: Receiver,
  { locked }: { locked: boolean },
): Promise<void> {
  const [row] = await sql({
    text: `select ${shownColumns} from backup_controllers c where c.backupid = $1 ${locked ? 'for update' : ''}`,
    values: [backupId],
  });
  if (!row) throw leaseToken ? leaseLost(backupId) : notFound(backupId);
  const controller = fromRow(row);
  // First of all: who has lost the lease is to hear that, whatever became of the run since.
  refuseUnlessHolder(controller, leaseToken);
  if (etag && etag !== etagOf(controller)) {
    throw new StatusError(ErrorReason.ETAG_MISMATCH, `controller ${backupId} has changed since it was read`);
  }
  refuseWhenFinished(controller);
}
