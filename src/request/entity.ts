import { defineEntity, type InferEntity, p } from '@mikro-orm/core';
import { epochNow } from '../db/clock.ts';

/** A call that named a request id, and its answer: table `backup_requests`. A row is there only when what it did is there. */
export const AnsweredRequest = defineEntity({
  name: 'AnsweredRequest',
  tableName: 'backup_requests',
  properties: {
    /** What was changed: a backup id, or the id of a course. It leads the key, so that the table can be partitioned like the others. */
    subject: p.string().length(32).primary(),
    requestId: p.uuid().name('requestid').primary(),
    /** SHA-256 of the method and of what was asked. */
    digest: p.blob(),
    /** The answer's bytes; empty while the transaction goes on. */
    answer: p.blob(),
    createdAt: p.bigint().name('created_at').defaultRaw(epochNow),
  },
  indexes: [{ name: 'backup_requests_created', properties: ['createdAt'] }],
});

export type AnsweredRequest = InferEntity<typeof AnsweredRequest>;
