import { defineEntity, type InferEntity, p } from '@mikro-orm/core';

/** How far the log of a backup was imported from Moodle: table `backup_log_imports`. */
export const LogImport = defineEntity({
  name: 'LogImport',
  tableName: 'backup_log_imports',
  properties: {
    backupId: p.string().length(32).name('backupid').primary(),
    /** The highest id that Moodle gave to an entry which is here now. */
    sourceId: p.bigint().name('sourceid'),
  },
});

export type LogImport = InferEntity<typeof LogImport>;
