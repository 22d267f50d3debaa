import pg from 'pg';
import type { Database } from '../../support/database.ts';
import { newBackupId } from '../../support/writing.ts';

/** A controller as it stands in the table, whatever led there. Times are seconds from now, to both sides. */
export type Given = {
  status?: number;
  purpose?: number;
  changedAgo?: number;
  createdAgo?: number;
  /** Absent: `executiontime` is 0. */
  startsIn?: number;
  leased?: boolean;
  /** How long its log is. */
  entries?: number;
};

export const HOUR = 3600;
export const DAY = 24 * HOUR;

const tables = [
  'backup_controllers',
  'backup_logs',
  'backup_log_heads',
  'backup_log_requests',
  'backup_payloads',
  'backup_payload_chunks',
  'backup_removals',
  'backup_requests',
];

/** Writes controllers by SQL; each has a log of its own, when it has one, and a payload. Returns their ids. */
export async function put(database: Database, ...given: Given[]): Promise<string[]> {
  const rows = given.map(row => {
    const changedAgo = row.changedAgo ?? 40 * DAY;
    return {
      backupid: newBackupId(),
      status: 1000,
      purpose: 10,
      createdAgo: changedAgo,
      entries: 0,
      ...row,
      changedAgo,
    };
  });
  await database.query(
    `with given as (
       select *, floor(extract(epoch from now()))::bigint as now from jsonb_to_recordset($1) as given (
         backupid text, status int, purpose int, "changedAgo" bigint, "createdAgo" bigint, "startsIn" bigint, leased boolean, entries bigint)
     ), controllers as (
       insert into backup_controllers (backupid, type, itemid, format, interactive, purpose, userid, status, execution, executiontime,
         created_at, updated_at, leasetoken, leaseexpires)
       select backupid, 'course', 1, 'moodle2', 0, purpose, 1, status, 2, coalesce(now + "startsIn", 0), now - "createdAgo",
         now - "changedAgo", case when leased then gen_random_uuid() end, (now + ${HOUR}) * 1000
       from given
     ), heads as (
       insert into backup_log_heads (backupid, lastid) select backupid, entries from given where entries > 0
     ), payloads as (
       insert into backup_payloads (backupid, uploadid, size, md5) select backupid, gen_random_uuid(), 1, '' from given
     ), requests as (
       insert into backup_log_requests (backupid, requestid, digest, firstid, lastid, dropped, created_at)
       select backupid, gen_random_uuid(), '', 1, 1, 0, now from given
     )
     insert into backup_logs (backupid, id, loglevel, message, created_at)
     select backupid, n, 40, 'x', 1 from given, generate_series(1, entries) n`,
    [JSON.stringify(rows)],
  );
  return rows.map(row => row.backupid);
}

/** The backup ids that there are. */
export async function left(database: Database): Promise<string[]> {
  const rows = await database.query('select backupid from backup_controllers');
  return rows.map(row => row['backupid'] as string);
}

/** How many rows each table has of these backups. */
export async function rowsOf(database: Database, backupIds: string[]): Promise<Record<string, number>> {
  const counts = tables
    .filter(table => table !== 'backup_requests')
    .map(table => `(select count(*)::int from ${table} where backupid = any ($1)) as ${table}`);
  const [row] = await database.query(`select ${counts.join(', ')}`, [backupIds]);
  return row as Record<string, number>;
}

/** All that the tables hold. */
export async function contents(database: Database): Promise<unknown> {
  const all = tables.map(table => `(select json_agg(t order by t::text) from ${table} t) as ${table}`);
  return (await database.query(`select ${all.join(', ')}`))[0];
}

/** Runs a statement in a transaction that stays open until it is disposed of; doing that twice does nothing more. */
export async function holding(database: Database, sql: string, values: unknown[] = []): Promise<AsyncDisposable> {
  const client = new pg.Client({ connectionString: database.url });
  await client.connect();
  await client.query('begin');
  await client.query(sql, values);
  let ending: Promise<void> | undefined;
  return { [Symbol.asyncDispose]: () => (ending ??= client.query('commit').then(() => client.end())) };
}
