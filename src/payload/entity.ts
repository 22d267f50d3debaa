import { defineEntity, type InferEntity, p } from '@mikro-orm/core';
import { epochNow } from '../db/clock.ts';

/**
 * A payload that was uploaded: table `backup_payloads`. Its bytes are the chunks of the same `uploadId`, and the column `controller` of
 * the controller holds them once more, all in one, for whoever reads by SQL.
 */
export const Payload = defineEntity({
  name: 'Payload',
  tableName: 'backup_payloads',
  properties: {
    backupId: p.string().length(32).name('backupid').primary(),
    uploadId: p.uuid().name('uploadid'),
    /** Bytes, before they were encoded. */
    size: p.bigint(),
    /** Of the bytes, 32 hexadecimal digits; the controller's own `checksum` can be changed by whoever updates it. */
    md5: p.string().length(32),
  },
});

export type Payload = InferEntity<typeof Payload>;

/** A part of a payload, or of an upload that is not complete: table `backup_payload_chunks`. */
export const PayloadChunk = defineEntity({
  name: 'PayloadChunk',
  tableName: 'backup_payload_chunks',
  properties: {
    backupId: p.string().length(32).name('backupid').primary(),
    uploadId: p.uuid().name('uploadid').primary(),
    /** 1, 2, 3 and so on. */
    n: p.integer().primary(),
    /** Base64 of a multiple of three bytes, but for the last one: put together in order, the parts are the column `controller`. */
    data: p.text(),
    createdAt: p.bigint().name('created_at').defaultRaw(epochNow),
  },
});

export type PayloadChunk = InferEntity<typeof PayloadChunk>;
