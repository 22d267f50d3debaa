import { defineEntity, type InferEntity, p } from '@mikro-orm/core';

/**
 * Entries that have left the table for an object in a store: table `backup_log_segments`. Those of a log follow each other without a gap, from its
 * first entry up to `backup_log_heads.movedid`. Whatever the row says is of the entries that are kept: retention may have taken the first ones.
 */
export const LogSegment = defineEntity({
  name: 'LogSegment',
  tableName: 'backup_log_segments',
  properties: {
    backupId: p.string().length(32).name('backupid').primary(),
    lastId: p.bigint().name('lastid').primary(),
    /** First id that is kept; the object may begin before it. */
    firstId: p.bigint().name('firstid'),
    /** Of the object in the store; never used again for another one. */
    key: p.string().length(200),
    /** SHA-256 of the object. */
    checksum: p.blob(),
    /** Length of the object. */
    bytes: p.integer(),
    /** By level: `level`, `count`, and as texts `first` and `last`, the times in nanoseconds since the epoch. */
    levels: p.json<StoredLevel[]>(),
    /** What the first entry has as `created_at`. */
    firstSeconds: p.bigint().name('firstseconds'),
    /** When the first and the last entry were appended, in epoch microseconds. */
    firstMicros: p.bigint().name('firstmicros'),
    lastMicros: p.bigint().name('lastmicros'),
    /** Fingerprint of the last entry. */
    proof: p.string().length(11),
  },
  checks: [{ name: 'backup_log_segments_ids_check', expression: 'firstid >= 1 and lastid >= firstid' }],
});

export type LogSegment = InferEntity<typeof LogSegment>;

export type StoredLevel = { level: number; count: number; first: string; last: string };

/**
 * An object that is to be removed from the store: table `backup_segment_removals`. It is written down before the object is, and struck out by the
 * transaction that makes it part of a log; so whatever breaks, no object is forgotten.
 */
export const SegmentRemoval = defineEntity({
  name: 'SegmentRemoval',
  tableName: 'backup_segment_removals',
  properties: {
    backupId: p.string().length(32).name('backupid').primary(),
    key: p.string().length(200).primary(),
    /** When to remove it, in epoch seconds. */
    dueAt: p.bigint().name('due_at'),
    /** How often that was begun; an object is part of no log any more, and never will be, once it was. */
    attempts: p.integer().default(0),
  },
  indexes: [{ name: 'backup_segment_removals_due', properties: ['dueAt'] }],
});

export type SegmentRemoval = InferEntity<typeof SegmentRemoval>;
