import { strict as assert } from 'node:assert';
import type { Message, MessageInitShape } from '@bufbuild/protobuf';
import pg from 'pg';
import {
  type ClaimControllersRequestSchema,
  type ClaimedController,
  type Controller,
  type CreateControllerRequestSchema,
  Execution,
  Operation,
  Purpose,
  Status,
  Type,
} from '../../../src/gen/backup/v1/controller_pb.ts';
import { ErrorReason, type Refusal } from '../../../src/gen/backup/v1/error_pb.ts';
import { acceleratorsOff, type Replica } from '../../support/backend.ts';
import type { Database } from '../../support/database.ts';
import { eventually } from '../../support/eventually.ts';

type With = Pick<Replica, 'controllers'>;

export type Wanted = Exclude<MessageInitShape<typeof CreateControllerRequestSchema>, Message>;

export type Asked = Exclude<MessageInitShape<typeof ClaimControllersRequestSchema>, Message>;

/** Whoever waits with these settings is woken or waits for longer than a test. */
export const onlyWoken: Record<string, string> = acceleratorsOff ? {} : { TAIL_POLL: '1m', TAIL_HEARTBEAT: '1m' };

/** A worker's proof. */
export type Lease = { backupId: string; leaseToken: string };

export const LEASE_LOST = { code: 'FAILED_PRECONDITION', reason: 'LEASE_LOST' } as const;

/** A run that waits for a worker. */
export async function queued({ controllers }: With, more: Wanted = {}): Promise<Controller> {
  const { controller } = await controllers.createController({
    operation: Operation.BACKUP,
    type: Type.COURSE,
    purpose: Purpose.ASYNC,
    status: Status.AWAITING,
    execution: Execution.DELAYED,
    ...more,
  });
  return controller!;
}

/** What a worker is given. */
export async function claimed({ controllers }: With, more: Asked = {}): Promise<ClaimedController[]> {
  return (await controllers.claimControllers({ worker: 'w', ...more })).claimed;
}

/** A run that a worker holds. Its format is its own, so that nothing else is claimed. */
export async function held(replica: With, { run = {}, claim = {} }: { run?: Wanted; claim?: Asked } = {}) {
  const format = `f${formats++}`;
  const { backupId } = await queued(replica, { format, ...run });
  return claimedAgain(replica, backupId, { filter: { format: run.format ?? format }, ...claim });
}

/** The lease of a worker that claims and must be given this run only. */
export async function claimedAgain(replica: With, backupId: string, claim: Asked = {}): Promise<Lease> {
  const [one, ...others] = await claimed(replica, claim);
  assert.ok(one, 'nothing was given');
  assert.deepEqual([one.controller!.backupId, others], [backupId, []]);
  return { backupId, leaseToken: one.leaseToken };
}

let formats = 0;

export async function get({ controllers }: With, backupId: string): Promise<Controller> {
  return (await controllers.getController({ backupId })).controller!;
}

/** So many due runs, by SQL; their ids in the order in which they are due. */
export async function fillQueue(database: Database, count: number, format = 'moodle2'): Promise<string[]> {
  const rows = await database.query(
    `insert into backup_controllers (backupid, type, itemid, format, interactive, purpose, userid, status, execution, created_at)
     select md5(random()::text || i), 'course', 1, $2, 0, 70, 1, 700, 2, 1000 + i from generate_series(1, $1::int) i
     returning backupid`,
    [count, format],
  );
  return rows.map(row => row['backupid'] as string);
}

/** So many leases. */
export async function heldMany(replica: With, database: Database, count: number): Promise<Lease[]> {
  const format = `f${formats++}`;
  await fillQueue(database, count, format);
  const all = await claimed(replica, { filter: { format }, maxControllers: count });
  assert.equal(all.length, count);
  return all.map(({ controller, leaseToken }) => ({ backupId: controller!.backupId, leaseToken }));
}

/** Waits for the first look for leases that have ended; with a long interval it is the only one. */
export function looked(database: Database): Promise<void> {
  return eventually(async () => {
    const [row] = await database.query("select value from backup_settings where name = 'last_sweep'");
    assert.notEqual(row!['value'], '0');
  });
}

/** Lets a lease end as if its worker had been silent all the time. Before the first look it would get its whole duration again. */
export async function expire(database: Database, backupId: string): Promise<void> {
  await looked(database);
  await database.query('update backup_controllers set leaseexpires = leasedat - 1 where backupid = $1', [backupId]);
}

/** Epoch seconds by the database's clock. */
export async function now(database: Database): Promise<number> {
  return Number((await database.query('select extract(epoch from clock_timestamp()) as now'))[0]!['now']);
}

/** Asserts that this is why nothing was changed. */
export function assertLost(error: Refusal | undefined): void {
  assert.ok(error, 'the lease was not lost');
  assert.equal(error.reason, ErrorReason.LEASE_LOST, error.message);
}

/** Every row of every table; when leases were last looked at is left out. */
export async function everything(database: Database): Promise<Record<string, unknown>[]> {
  const tables = await database.query("select tablename from pg_tables where schemaname = 'public' order by 1");
  const rows = tables.map(
    ({ tablename: name }) => `select '${name}' as name, to_jsonb(t) as row from ${name} t
      ${name === 'backup_settings' ? "where name <> 'last_sweep'" : ''}`,
  );
  return database.query(`${rows.join(' union all ')} order by 1, 2`);
}

/** The log of a run as lines of attempt, level and message. */
export async function logOf(database: Database, backupId: string): Promise<string[]> {
  const sql = 'select attempt, loglevel, message from backup_logs where backupid = $1 order by id';
  const rows = await database.query(sql, [backupId]);
  return rows.map(row => `${row['attempt']} ${row['loglevel']} ${row['message']}`);
}

/** The last and the sealed id of a log; undefined when there is none. */
export async function headOf(database: Database, backupId: string): Promise<unknown[] | undefined> {
  const sql = 'select lastid, sealedid from backup_log_heads where backupid = $1';
  const [head] = await database.query(sql, [backupId]);
  return head && [head['lastid'], head['sealedid']];
}

/** From now on until it is disposed of, statements that change controllers wait. */
export async function standstill(database: Database) {
  const client = new pg.Client({ connectionString: database.url });
  await client.connect();
  await client.query('begin; lock table backup_controllers in exclusive mode');
  let ending: Promise<void> | undefined;
  const end = async () => {
    await client.query('commit');
    await client.end();
  };
  const waiting = (count: number) =>
    eventually(async () => {
      const [{ waiting } = {}] = await database.query(
        `select count(*)::int as waiting from pg_stat_activity
         where datname = current_database() and wait_event_type = 'Lock'
           and query ~ 'lock table|update backup_controllers c set' and query !~ 'greatest\\(c.leaseexpires'`,
      );
      assert.equal(waiting, count);
    });
  return {
    query: (sql: string, values?: unknown[]) => client.query(sql, values),
    /** Resolves when so many statements of calls wait; what replicas do by themselves does not count. */
    waiting,
    /** Calls, each waiting with a batch of its own: whatever comes then goes together in the next one. */
    occupied: async <T>(call: () => Promise<T>): Promise<Promise<T>[]> => {
      const first = call();
      await waiting(1);
      const second = call();
      await waiting(2);
      return [first, second];
    },
    [Symbol.asyncDispose]: () => (ending ??= end()),
  };
}
