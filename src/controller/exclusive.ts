import type { EntityManager } from '@mikro-orm/postgresql';
import { sqlIn } from '../db/sql.ts';
import { ErrorReason, StatusError } from '../errors.ts';
import { Status } from './lifecycle.ts';
import type { Shown } from './row.ts';

/**
 * Makes sure that no other unfinished run has the operation, type and item of this one, until the transaction ends. Of two that ask for it at
 * the same time one waits for the other here, and sees it then.
 */
export async function claimExclusively(
  em: EntityManager,
  { backupId, operation, type, itemId }: Pick<Shown, 'backupId' | 'operation' | 'type' | 'itemId'>,
): Promise<void> {
  const sql = sqlIn(em);
  await sql({
    text: `insert into backup_exclusives (operation, type, itemid) values ($1, $2, $3)
           on conflict (operation, type, itemid) do update set itemid = excluded.itemid`,
    values: [operation, type, itemId],
  });
  // A statement of its own: the one that waited for the lock does not see what was committed meanwhile.
  const [other] = await sql<{ backupid: string }>({
    text: `select backupid from backup_controllers
           where operation = $1 and type = $2 and itemid = $3 and status < ${Status.FINISHED_ERR} and backupid <> $4 limit 1`,
    values: [operation, type, itemId, backupId],
  });
  if (!other) return;
  throw new StatusError(
    ErrorReason.EXCLUSIVE_TAKEN,
    `controller ${other.backupid} has the same operation, type and item and has not finished`,
    { metadata: { backup_id: other.backupid } },
  );
}
