import { execFileSync } from 'node:child_process';
import { join } from 'node:path';
import pg from 'pg';
import { migrate } from '../src/db/migrate.ts';
import { alternate, compare, type Figure } from './figure.ts';
import { createDatabase } from './service.ts';

const CONTROLLERS = 50_000;
const COURSES = 5_000;
const LOGS = 945_000;
const ROWS = CONTROLLERS + COURSES + LOGS;

/**
 * A Moodle database of 1,000,000 rows, imported as an operator does it. The ceiling is PostgreSQL alone: the same rows into the same tables,
 * each by one statement in one database: nothing goes through a program, and nothing could be stopped or repeated.
 */
export async function imports(serverUrl: string, rounds: number): Promise<Figure[]> {
  const moodle = await createDatabase(serverUrl, 'bench_moodle');
  await withClient(moodle, fill);
  const contestants = [
    { name: 'import', run: () => imported(serverUrl, moodle) },
    { name: 'insert .. select in the database', run: () => inserted(serverUrl) },
  ];
  const rates = await alternate(contestants, rounds);
  const [mine, ceiling] = contestants.map(({ name }) => rates.get(name)!);
  return [compare('import', mine!, ceiling!, 0.2)];
}

async function fill(client: pg.Client): Promise<void> {
  await client.query(`
    create table mdl_backup_controllers as
      select i as id, md5(i::text) as backupid, 'backup' as operation, 'course' as type, i % ${COURSES} as itemid, 'moodle2' as format, 0 as interactive,
        50 as purpose, 2 as userid, case when i % 50 = 0 then 900 else 1000 end as status, 1 as execution, 0 as executiontime, md5('x') as checksum,
        1500000000 + i as timecreated, 1500000000 + i as timemodified, 1.0 as progress,
        case when i % 50 = 0 then repeat(md5(i::text), 256) else '' end as controller
      from generate_series(1, ${CONTROLLERS}) i;
    create table mdl_backup_courses as
      select i as id, i as courseid, 1500000000 as laststarttime, 1500000100 as lastendtime, '1' as laststatus, 0 as nextstarttime
      from generate_series(1, ${COURSES}) i;
    create table mdl_backup_logs as
      select i as id, md5((1 + i * ${CONTROLLERS} / ${LOGS + 1})::text) as backupid, 30 as loglevel, 'a line of some length, number ' || i as message,
        1500000000 + i as timecreated
      from generate_series(1::bigint, ${LOGS}) i;
    create unique index on mdl_backup_controllers (id);
    create unique index on mdl_backup_courses (id);
    create unique index on mdl_backup_logs (id);
    analyze`);
}

async function imported(serverUrl: string, moodle: string): Promise<number> {
  const url = await createDatabase(serverUrl, 'bench_import');
  const program = join(import.meta.dirname, '../src/cli/main.ts');
  const start = performance.now();
  execFileSync(process.execPath, [program, 'import', 'moodle', '--from', moodle, '--to', url], { stdio: 'ignore' });
  const seconds = (performance.now() - start) / 1000;
  await withClient(url, async client => {
    const { rows } = await client.query(
      'select (select count(*) from backup_controllers) + (select count(*) from backup_courses) + (select count(*) from backup_logs) as n',
    );
    if (Number(rows[0].n) !== ROWS) throw new Error(`${rows[0].n} of ${ROWS} rows have come`);
  });
  return ROWS / seconds;
}

async function inserted(serverUrl: string): Promise<number> {
  const url = await createDatabase(serverUrl, 'bench_import');
  await migrate(url);
  return withClient(url, async client => {
    await fill(client);
    const start = performance.now();
    await client.query(`
      insert into backup_courses (id, courseid, laststarttime, lastendtime, laststatus, nextstarttime) select * from mdl_backup_courses`);
    await client.query(`
      insert into backup_controllers (id, backupid, operation, type, itemid, format, interactive, purpose, userid, status, execution, executiontime,
        checksum, created_at, updated_at, progress, controller) select * from mdl_backup_controllers`);
    await client.query(`
      insert into backup_logs (backupid, id, loglevel, message, created_at)
      select backupid, row_number() over (partition by backupid order by id), loglevel, message, timecreated from mdl_backup_logs`);
    await client.query(`
      insert into backup_log_heads (backupid, lastid, sealedid) select backupid, count(*), count(*) from mdl_backup_logs group by 1`);
    return ROWS / ((performance.now() - start) / 1000);
  });
}

async function withClient<T>(url: string, work: (client: pg.Client) => Promise<T>): Promise<T> {
  const client = new pg.Client({ connectionString: url });
  await client.connect();
  try {
    return await work(client);
  } finally {
    await client.end();
  }
}
