/** Whether a text is what names a backup: 32 lower-case hexadecimal digits. */
export function isBackupId(text: string): boolean {
  return BACKUP_ID.test(text);
}

/** Whether a text is a UUID as programs write it, in lower case. */
export function isPlainUuid(text: string): boolean {
  return PLAIN_UUID.test(text);
}

const BACKUP_ID = /^[0-9a-f]{32}$/;

const PLAIN_UUID = /^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$/;
