import { epochNow } from '../db/clock.ts';
import type { Sql } from '../db/sql.ts';
import { deleteLogs } from '../log/head.ts';
import { forgetUpload } from '../payload/upload.ts';

/**
 * Deletes controllers, with their logs and payloads, and notes that they are gone for those who watch. Part of a transaction that has
 * locked the controllers in the order of their backup ids. Chunks of payloads are left: they are found by having no payload any more.
 */
export async function removeControllers(sql: Sql, backupIds: string[]): Promise<{ logEntries: bigint }> {
  const logEntries = await deleteLogs(sql, backupIds);
  await forgetUpload(sql, backupIds);
  await sql({
    // The time again, and not what was there: the same backup id may have been deleted before, created anew and deleted now.
    text: `insert into backup_removals (backupid) select id from unnest($1::varchar[]) as id
      on conflict (backupid) do update set created_at = ${epochNow}`,
    values: [backupIds],
  });
  await sql({ text: 'delete from backup_controllers where backupid = any ($1)', values: [backupIds] });
  return { logEntries };
}
