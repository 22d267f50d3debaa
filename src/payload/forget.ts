import type { Sql } from '../db/sql.ts';

/** Forgets what was uploaded for these controllers: part of the transaction that empties or replaces their payloads otherwise. */
export async function forgetUpload(sql: Sql, backupIds: string[]): Promise<void> {
  await sql({ text: 'delete from backup_payloads where backupid = any ($1)', values: [backupIds] });
}
