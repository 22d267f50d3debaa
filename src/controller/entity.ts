import { defineEntity, type InferEntity, type Opt, p } from '@mikro-orm/core';
import { epochNow } from '../db/clock.ts';
import { type Operation, type Outcome, operations, Status } from './lifecycle.ts';

/** What part of a site a run covers; the empty string is a restore that has not looked yet. Column `type`. */
export const types = ['', 'activity', 'section', 'course'] as const;

/** When a run starts. Moodle's numbers (backup::EXECUTION_*), column `execution`. */
export const Execution = { IMMEDIATE: 1, DELAYED: 2 } as const;

/** When a run in the queue is due, in SQL: not before it was created, or those that name no time would always come first. */
export const dueTime = 'greatest(executiontime, created_at)';

/** What waits for a worker, in SQL. */
export const inQueue = `status = ${Status.AWAITING} and execution = ${Execution.DELAYED}`;

/**
 * A run of a backup or a restore: table `backup_controllers`. All times are epoch seconds by the database's clock. The key is `backupid`
 * and not `id`, so that the table can be hash-partitioned by it.
 */
export const Controller = defineEntity({
  name: 'Controller',
  tableName: 'backup_controllers',
  properties: {
    backupId: p.string().length(32).name('backupid').primary(),
    id: p.bigint().generated('by default as identity').$type<Opt<bigint>>(),
    operation: p.string().length(20).$type<Operation>().default('backup'),
    type: p.string().length(10).$type<(typeof types)[number]>(),
    itemId: p.bigint().name('itemid'),
    format: p.string().length(20),
    interactive: p.smallint().$type<0 | 1>(),
    purpose: p.smallint(),
    userId: p.bigint().name('userid'),
    status: p.smallint().$type<Status>(),
    execution: p.smallint().$type<1 | 2>(),
    /** 0 is at once. */
    executionTime: p.bigint().name('executiontime').default(0),
    checksum: p.string().length(32).default(''),
    /** 0 to 1 with 14 decimals, as text: no float stands between the wire and the column. */
    progress: p.decimal('string').precision(15).scale(14).default('0'),
    createdAt: p.bigint().name('created_at').defaultRaw(epochNow),
    updatedAt: p.bigint().name('updated_at').defaultRaw(epochNow),
    /** The payload in base64, as Moodle stores it; read on demand only, it may be large. */
    payload: p.text().name('controller').default('').lazy(),
    /** Length of the column `controller`, on demand only: to know before reading it. */
    payloadLength: p.integer().formula('octet_length(controller)').lazy(),
    /** The database's clock at the time of the read, on demand only: what `updatedAt` is set to. */
    now: p.bigint().formula(epochNow).lazy(),
    // Added to the specification's columns, from here on.
    /** Counts the changes of the row, other than reports of progress. */
    revision: p.integer().version(),
    exclusive: p.boolean().default(false),
    /** How often the run may be begun before the loss of a worker ends it. */
    maxAttempts: p.smallint().name('maxattempts').default(1),
    /** How often it has been claimed: the number of the current attempt, or of the last one. */
    attempt: p.integer().default(0),
    /** Attempts that were lost with their worker, since the creation or the last retry. */
    lostAttempts: p.smallint().name('lostattempts').default(0),
    /** Held by the worker that knows this token; null when nobody holds it. */
    leaseToken: p.uuid().name('leasetoken').nullable(),
    leaseWorker: p.string().length(100).name('leaseworker').default(''),
    /** Epoch milliseconds. */
    leasedAt: p.bigint().name('leasedat').defaultRaw('0'),
    /** Epoch milliseconds. Not indexed: it changes with every report, which an index would make several times as expensive. */
    leaseExpires: p.bigint().name('leaseexpires').defaultRaw('0'),
    /** For how long a report renews the lease, in milliseconds. */
    leaseMs: p.integer().name('leasems').default(0),
    /** When the worker was asked to cancel; 0 when it was not. */
    cancelRequestedAt: p.bigint().name('cancelrequestedat').defaultRaw('0'),
    outcome: p.smallint().$type<Outcome>().default(0),
    /** When it last became EXECUTING; 0 is never. */
    startedAt: p.bigint().name('startedat').defaultRaw('0'),
    /** When it finished; 0 when it has not. */
    endedAt: p.bigint().name('endedat').defaultRaw('0'),
  },
  indexes: [
    { name: 'backup_controllers_id', properties: ['id'] },
    { name: 'backup_controllers_typeitem', properties: ['type', 'itemId'] },
    { name: 'backup_controllers_useritem', properties: ['userId', 'itemId'] },
    { name: 'backup_controllers_status', properties: ['status', 'updatedAt'] },
    { name: 'backup_controllers_created', properties: ['createdAt', 'id'] },
    {
      name: 'backup_controllers_due',
      expression: `create index backup_controllers_due on backup_controllers (${dueTime}, id) where ${inQueue}`,
    },
  ],
  checks: [
    { name: 'backup_controllers_operation_check', expression: oneOf('operation', operations) },
    { name: 'backup_controllers_type_check', expression: oneOf('type', types) },
    { name: 'backup_controllers_interactive_check', expression: 'interactive in (0, 1)' },
    { name: 'backup_controllers_status_check', expression: `status in (${Object.values(Status).join(', ')})` },
    { name: 'backup_controllers_execution_check', expression: `execution in (${Object.values(Execution).join(', ')})` },
    { name: 'backup_controllers_progress_check', expression: 'progress between 0 and 1' },
    {
      name: 'backup_controllers_times_check',
      expression: 'executiontime >= 0 and created_at >= 0 and updated_at >= 0',
    },
    { name: 'backup_controllers_lease_check', expression: `leasetoken is null or status = ${Status.EXECUTING}` },
  ],
});

export type Controller = InferEntity<typeof Controller>;

/**
 * Something that exclusive runs were created for: table `backup_exclusives`. Whoever wants to be the only one locks the row before looking
 * for others, so that of two at the same time the second one sees the first.
 */
export const Exclusive = defineEntity({
  name: 'Exclusive',
  tableName: 'backup_exclusives',
  properties: {
    operation: p.string().length(20).$type<Operation>().primary(),
    type: p.string().length(10).$type<(typeof types)[number]>().primary(),
    itemId: p.bigint().name('itemid').primary().autoincrement(false),
  },
});

export type Exclusive = InferEntity<typeof Exclusive>;

/** A controller that was deleted, for those who were told of it and continue later: table `backup_removals`. */
export const Removal = defineEntity({
  name: 'Removal',
  tableName: 'backup_removals',
  properties: {
    backupId: p.string().length(32).name('backupid').primary(),
    createdAt: p.bigint().name('created_at').defaultRaw(epochNow),
  },
  indexes: [{ name: 'backup_removals_created', properties: ['createdAt'] }],
});

export type Removal = InferEntity<typeof Removal>;

function oneOf(column: string, values: readonly string[]): string {
  return `${column} in (${values.map(value => `'${value}'`).join(', ')})`;
}
