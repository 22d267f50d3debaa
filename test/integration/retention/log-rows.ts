import type { Database } from '../../support/database.ts';
import { newBackupId } from '../../support/writing.ts';
import { DAY } from './rows.ts';

/** A log as it stands in the tables. Times are seconds ago; below 0 they are to come. */
export type GivenLog = {
  /** Of each entry, in the order of ids. */
  ages?: number[];
  /** So many entries instead, of 40 days each. */
  entries?: number;
  /** When something was appended last; absent: when the youngest entry was. */
  appendedAgo?: number;
  /** Whether it has a controller. */
  controller?: boolean;
  sealed?: boolean;
};

/** Writes logs by SQL, each with a kept request and a writer; returns their ids. */
export async function putLogs(database: Database, ...given: GivenLog[]): Promise<string[]> {
  const logs = given.map(({ entries = 0, ages = Array(entries).fill(40 * DAY), ...log }) => ({
    backupid: newBackupId(),
    ages,
    appendedAgo: log.appendedAgo ?? Math.max(0, Math.min(40 * DAY, ...ages)),
    controller: log.controller ?? false,
    sealed: log.sealed ?? false,
  }));
  await database.query(
    `with given as (
       select *, floor(extract(epoch from now()))::bigint as now, jsonb_array_length(ages) as count from jsonb_to_recordset($1)
         as given (backupid text, ages jsonb, "appendedAgo" bigint, controller boolean, sealed boolean)
     ), heads as (
       insert into backup_log_heads (backupid, lastid, sealedid, lastmicros)
       select backupid, count, case when sealed then count end, (now - "appendedAgo") * 1000000 from given
     ), controllers as (
       insert into backup_controllers (backupid, type, itemid, format, interactive, purpose, userid, status, execution)
       select backupid, 'course', 1, 'moodle2', 0, 10, 1, case when sealed then 1000 else 700 end, 2 from given where controller
     ), requests as (
       insert into backup_log_requests (backupid, requestid, digest, firstid, lastid, dropped, created_at)
       select backupid, gen_random_uuid(), '', 1, 1, 0, now from given
     ), writers as (
       insert into backup_log_writers (backupid, writerid, lastnumber, updated_at) select backupid, gen_random_uuid(), 1, now from given
     )
     insert into backup_logs (backupid, id, loglevel, message, created_at)
     select backupid, n, 40, 'x', now - age::bigint from given, jsonb_array_elements_text(ages) with ordinality as a (age, n)`,
    [JSON.stringify(logs)],
  );
  return logs.map(log => log.backupid);
}

/** The ids that are left of a log. */
export async function idsOf(database: Database, backupId: string): Promise<number[]> {
  const rows = await database.query('select id::int from backup_logs where backupid = $1 order by id', [backupId]);
  return rows.map(row => row['id'] as number);
}

/** What there is of a log: its head, as first and last id, and how many entries, requests and writers. */
export async function standing(database: Database, backupId: string): Promise<unknown[]> {
  const [row] = await database.query(
    `select (select firstid || '..' || lastid from backup_log_heads where backupid = $1) as head,
       (select count(*)::int from backup_logs where backupid = $1) as entries,
       (select count(*)::int from backup_log_requests where backupid = $1) as requests,
       (select count(*)::int from backup_log_writers where backupid = $1) as writers`,
    [backupId],
  );
  return Object.values(row!);
}

/** All that the tables hold of logs. */
export async function logContents(database: Database): Promise<unknown> {
  const tables = ['backup_logs', 'backup_log_heads', 'backup_log_requests', 'backup_log_writers', 'backup_requests'];
  const all = tables.map(table => `(select json_agg(t order by t::text) from ${table} t) as ${table}`);
  return (await database.query(`select ${all.join(', ')}`))[0];
}
