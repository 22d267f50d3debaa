import { defineEntity, type InferEntity, p } from '@mikro-orm/core';

/** What all replicas on one database have to agree on. The migrations write the rows. */
export const Setting = defineEntity({
  name: 'Setting',
  tableName: 'backup_settings',
  properties: {
    name: p.string().length(40).primary(),
    value: p.text(),
  },
});

export type Setting = InferEntity<typeof Setting>;
