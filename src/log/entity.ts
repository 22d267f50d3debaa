import { defineEntity, type InferEntity, p } from '@mikro-orm/core';

/**
 * A line of a log: table `backup_logs`. Ids are dense from 1 within a backup; `append.ts` gives them.
 *
 * One table with one key, or sixteen partitions by hash of the backup id (`db/engine.ts`): those were neither faster nor slower on the same machine
 * (thousands of entries a second, plain and divided: appended by 100 79 and 89, by one 2.0 and 1.9, listed 429 and 449, purged 349 and 271, each
 * give or take a quarter). Partitions by time would have to be looked through for every page. What ages is found without an index, too
 * (`retention/oldest.ts`).
 */
export const LogEntry = defineEntity({
  name: 'LogEntry',
  tableName: 'backup_logs',
  properties: {
    backupId: p.string().length(32).name('backupid').primary(),
    id: p.bigint().primary(),
    level: p.smallint().name('loglevel'),
    message: p.text(),
    /** Epoch seconds. */
    createdAt: p.bigint().name('created_at'),
    /** Added to the specification's columns: the part of the time below a second, in nanoseconds. */
    createdNanos: p.integer().name('created_nanos').default(0),
    /** Added as well: the attempt of the run that wrote it, 0 when it was written without a lease. */
    attempt: p.integer().default(0),
    /** When it was appended, in epoch microseconds, if its writer gave it another time; they ascend with the ids. */
    appendedMicros: p.bigint().name('appended_micros').nullable(),
  },
  checks: [
    { name: 'backup_logs_id_check', expression: 'id > 0' },
    { name: 'backup_logs_nanos_check', expression: 'created_nanos between 0 and 999999999' },
  ],
});

export type LogEntry = InferEntity<typeof LogEntry>;

/**
 * Where a log stands. The row is locked while ids are given, so entries become visible in the order of their ids. It is a table of its
 * own, not columns of the controller: logs begin before their controller exists, and the row changes with every append.
 */
export const LogHead = defineEntity({
  name: 'LogHead',
  tableName: 'backup_log_heads',
  properties: {
    backupId: p.string().length(32).name('backupid').primary(),
    /** First id that retention has kept. */
    firstId: p.bigint().name('firstid').default(1),
    lastId: p.bigint().name('lastid'),
    /** `lastId` when the controller finished. */
    sealedId: p.bigint().name('sealedid').nullable(),
    /** Entries up to this one are in segments (`src/segment/`), and not in `backup_logs`; the last one of a log never is. */
    movedId: p.bigint().name('movedid').default(0),
    /** When it grew last, in epoch microseconds; entries that come with no time get this one, so it never goes backwards. */
    lastMicros: p.bigint().name('lastmicros').default(0),
    /** The minute of it, since the epoch: for an index that most appends need not write. */
    activeMinute: p.bigint().name('activeminute').generated('((lastmicros / 60000000)) stored').nullable(),
  },
  indexes: [{ name: 'backup_log_heads_active', properties: ['activeMinute'] }],
  checks: [
    { name: 'backup_log_heads_ids_check', expression: 'firstid >= 1 and lastid >= firstid - 1 and sealedid <= lastid' },
  ],
});

export type LogHead = InferEntity<typeof LogHead>;

/** An append that named a request id, so that sending it again changes nothing. */
export const LogRequest = defineEntity({
  name: 'LogRequest',
  tableName: 'backup_log_requests',
  properties: {
    backupId: p.string().length(32).name('backupid').primary(),
    requestId: p.uuid().name('requestid').primary(),
    /** SHA-256 of what was asked. */
    digest: p.blob(),
    firstId: p.bigint().name('firstid'),
    lastId: p.bigint().name('lastid'),
    dropped: p.integer(),
    createdAt: p.bigint().name('created_at'),
  },
  indexes: [{ name: 'backup_log_requests_created', properties: ['createdAt'] }],
});

export type LogRequest = InferEntity<typeof LogRequest>;

/** How far the batches of a writer were kept, so that it can go on behind them after whatever has broken. */
export const LogWriter = defineEntity({
  name: 'LogWriter',
  tableName: 'backup_log_writers',
  properties: {
    backupId: p.string().length(32).name('backupid').primary(),
    writerId: p.uuid().name('writerid').primary(),
    lastNumber: p.bigint().name('lastnumber'),
    /** When it has opened a stream or sent a batch last. */
    updatedAt: p.bigint().name('updated_at'),
  },
  indexes: [{ name: 'backup_log_writers_updated', properties: ['updatedAt'] }],
});

export type LogWriter = InferEntity<typeof LogWriter>;
