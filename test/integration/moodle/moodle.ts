import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';
import { createConnection } from 'mysql2/promise';
import pg from 'pg';

const REPOSITORY = fileURLToPath(new URL('../../..', import.meta.url));

/** Runs SQL that both kinds of database understand. */
export type Moodle = AsyncDisposable & {
  readonly url: string;
  run(sql: string, values?: unknown[]): Promise<void>;
};

export async function openPostgresMoodle(url: string): Promise<Moodle> {
  const client = new pg.Client({ connectionString: url });
  await client.connect();
  return {
    url,
    run: async (sql, values) => {
      let n = 0;
      await client.query(
        sql.replaceAll('?', () => `$${++n}`),
        values,
      );
    },
    [Symbol.asyncDispose]: () => client.end(),
  };
}

export async function openMysqlMoodle(url: string): Promise<Moodle> {
  const connection = await createConnection({ uri: url, charset: 'utf8mb4' });
  return {
    url,
    run: async (sql, values) => void (await connection.query(sql, values)),
    [Symbol.asyncDispose]: () => connection.end(),
  };
}

/** The three tables as Moodle makes them. */
export async function createTables({ run }: Moodle, prefix = 'mdl_'): Promise<void> {
  await run(`create table ${prefix}backup_controllers (id bigint primary key, backupid varchar(32) not null unique, operation varchar(20) not null,
    type varchar(10) not null, itemid bigint not null, format varchar(20) not null, interactive smallint not null, purpose smallint not null,
    userid bigint not null, status smallint not null, execution smallint not null, executiontime bigint not null, checksum varchar(32) not null,
    timecreated bigint not null, timemodified bigint not null, progress numeric(15,14) not null, controller ${'text'} not null)`);
  await run(`create table ${prefix}backup_courses (id bigint primary key, courseid bigint not null unique, laststarttime bigint not null,
    lastendtime bigint not null, laststatus varchar(1) not null, nextstarttime bigint not null)`);
  await run(`create table ${prefix}backup_logs (id bigint primary key, backupid varchar(32) not null, loglevel smallint not null, message text not null,
    timecreated bigint not null)`);
}

/** Some rows of every table; logs of the backups take turns. */
export async function fill({ run }: Moodle, { controllers = 20, courses = 10, logs = 200 } = {}, prefix = 'mdl_') {
  for (let i = 1; i <= controllers; i++) await controller({ run }, i, {}, prefix);
  for (let i = 1; i <= courses; i++) {
    const row = [i + 50, 1000 + i, i * 10, i * 20, String(i % 7), 4_000_000_000 + i];
    await run(`insert into ${prefix}backup_courses values (?, ?, ?, ?, ?, ?)`, row);
  }
  for (let i = 1; i <= logs; i++) await log({ run }, 7 * i, backupId(1 + (i % controllers)), `line ${i}`, prefix);
}

export function backupId(i: number): string {
  return i.toString(16).padStart(32, '0');
}

export async function controller(
  { run }: Pick<Moodle, 'run'>,
  i: number,
  more: Partial<Record<'operation' | 'type' | 'status' | 'purpose' | 'controller' | 'progress', unknown>> = {},
  prefix = 'mdl_',
): Promise<void> {
  const {
    operation = 'backup',
    type = 'course',
    status = i % 2 ? 1000 : 900,
    purpose = 50,
    progress = '0.12345678901234',
  } = more;
  const row = [
    3 * i,
    backupId(i),
    operation,
    type,
    i,
    'moodle2',
    0,
    purpose,
    2,
    status,
    1,
    0,
    'c'.repeat(32),
    1_500_000_000 + i,
    0,
    progress,
  ];
  await run(`insert into ${prefix}backup_controllers values (${row.map(() => '?').join(', ')}, ?)`, [
    ...row,
    more.controller ?? 'T2JqZWN0',
  ]);
}

export async function log({ run }: Pick<Moodle, 'run'>, id: number, of: string, message: string, prefix = 'mdl_') {
  await run(`insert into ${prefix}backup_logs values (?, ?, ?, ?, ?)`, [
    id,
    of,
    20 + 10 * (id % 4),
    message,
    1_600_000_000 + id,
  ]);
}

/** Runs the import as an operator does; what it printed. */
export async function importing(args: string[], env: NodeJS.ProcessEnv = {}) {
  const run = startImport(args, env);
  const [code] = await once(run.child, 'close');
  return { code: code as number, out: run.out(), err: run.err() };
}

export function startImport(args: string[], env: NodeJS.ProcessEnv = {}) {
  const child = spawn(process.execPath, ['src/cli/main.ts', 'import', 'moodle', ...args], {
    cwd: REPOSITORY,
    env: { ...process.env, ...env },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  const output = { out: '', err: '' };
  for (const [name, stream] of [['out', child.stdout] as const, ['err', child.stderr] as const]) {
    stream.setEncoding('utf8').on('data', text => {
      output[name] += text;
    });
  }
  return { child, out: () => output.out, err: () => output.err };
}
