import { readdir } from 'node:fs/promises';
import { parse } from 'node:path';
import pg from 'pg';
import { APPEND, hasAppend, makeAppend } from './citus-append.ts';
import { type Engine, misfit, readEngine, readNextEngine, requireEngine } from './engine.ts';
import { layOut } from './layout.ts';
import { whileLocked } from './locked.ts';
import { MIGRATIONS, openOrm } from './orm.ts';
import { type Sql, sqlOn } from './sql.ts';

/**
 * Brings the schema up to date, and returns the names of the migrations that did. One replica at a time does it, the others wait; the lock goes
 * with the connection, however it ends. All of them are one transaction: when one fails nothing has changed. A statement that waits for a lock has
 * everybody wait behind it who uses the table; it gives up soon, and all are tried again a little later.
 *
 * A database in which nothing was written yet is laid out for the engine. Of one that has data and another engine it only says so.
 */
export async function migrate(url: string, engine?: Engine): Promise<string[]> {
  await using client = await connected(url);
  const sql = sqlOn(client);
  if ((await readSchema(sql)).missing.length === 0 && (await fits(client, engine)) && !(await lacksAppend(sql)))
    return [];
  await client.query('select pg_advisory_lock($1)', [LOCK]);
  const names = await bringUp(client, url);
  if (!(await fits(client, engine))) await lay(client, engine!);
  if (await lacksAppend(sql)) await within(client, () => makeAppend(sql));
  return names;
}

async function bringUp(client: pg.Client, url: string): Promise<string[]> {
  const { applied, missing } = await readSchema(sqlOn(client));
  if (missing.length === 0) return [];
  // The twins of its tables would stay as they are, and refuse what is written into the tables.
  const next = applied.length > 0 && (await readNextEngine(sqlOn(client)));
  if (next)
    throw new Error(
      `the database is being moved to ${next}: \`npm run cli -- engine ${next}\` of the version before ends that`,
    );
  const orm = await openOrm({
    url,
    poolSize: 2,
    connectTimeoutMs: 10_000,
    statementTimeoutMs: LONGEST_MS,
    lockTimeoutMs: LOCK_TIMEOUT_MS,
    log: () => {},
  });
  try {
    return await whileLocked(async () => (await orm.migrator.up()).map(({ name }) => name), PATIENCE);
  } finally {
    await orm.close();
  }
}

/** Fails unless all migrations of this version are there, and the engine is this one. Migrations of a later version may be there, too. */
export async function requireSchema(url: string, engine: Engine): Promise<void> {
  await using client = await connected(url);
  await requireUpToDate(client);
  await requireEngine(sqlOn(client), engine);
  if (await lacksAppend(sqlOn(client))) throw lacking([APPEND]);
}

/** A connection that keeps others from migrating as long as it is open. All migrations of this version must be there. */
export async function migrating(url: string): Promise<AsyncDisposable> {
  await using opening = new AsyncDisposableStack();
  const client = opening.use(await connected(url));
  await client.query('select pg_advisory_lock($1)', [LOCK]);
  await requireUpToDate(client);
  return opening.move();
}

async function requireUpToDate(client: pg.Client): Promise<void> {
  const { missing } = await readSchema(sqlOn(client));
  if (missing.length > 0) throw lacking(missing);
}

function lacking(missing: string[]): Error {
  return new Error(
    `the database lacks ${missing.join(', ')}: run \`npm run cli -- migrate\` as the role that owns the tables, or set MIGRATE=on`,
  );
}

async function fits(client: pg.Client, engine: Engine | undefined): Promise<boolean> {
  return !engine || (await readEngine(sqlOn(client))) === engine;
}

/** Lays out the tables, if nothing was written yet. */
async function lay(client: pg.Client, engine: Engine): Promise<void> {
  await client.query(`set lock_timeout = ${LOCK_TIMEOUT_MS}`);
  await whileLocked(
    () =>
      within(client, async () => {
        if (!(await layOut(sqlOn(client), engine))) throw misfit(await readEngine(sqlOn(client)), engine);
      }),
    PATIENCE,
  );
}

/** On Citus, when this version has another function than those before it. */
async function lacksAppend(sql: Sql): Promise<boolean> {
  return (await readEngine(sql)) === 'citus' && !(await hasAppend(sql));
}

async function within(client: pg.Client, work: () => Promise<void>): Promise<void> {
  await client.query('begin');
  try {
    await work();
    await client.query('commit');
  } catch (error) {
    await client.query('rollback');
    throw error;
  }
}

/** Names of migrations, in their order. */
export type Schema = {
  /** Of this version, those that are there and those that are still to come. */
  applied: string[];
  missing: string[];
  /** Of another version. */
  unknown: string[];
};

/** None is missing at nearly every start, and the migrator takes 60 ms to find that out. */
export async function readSchema(sql: Sql): Promise<Schema> {
  const names = (await readdir(MIGRATIONS)).filter(file => file.endsWith('.ts')).map(file => parse(file).name);
  const [{ there } = { there: false }] = await sql<{ there: boolean }>({ text: THERE, values: [] });
  const rows = there
    ? await sql<{ name: string }>({ text: 'select name from backup_migrations order by id', values: [] })
    : [];
  const done = new Set(rows.map(({ name }) => name));
  return {
    applied: names.filter(name => done.has(name)),
    missing: names.filter(name => !done.has(name)),
    unknown: [...done].filter(name => !names.includes(name)),
  };
}

const THERE = "select to_regclass('backup_migrations') is not null as there";

async function connected(url: string): Promise<pg.Client & AsyncDisposable> {
  const client = new pg.Client({ connectionString: url, application_name: 'backup-management migrations' });
  await client.connect();
  return Object.assign(client, { [Symbol.asyncDispose]: () => client.end() });
}

/** "backup" in hexadecimal digits of ASCII: no other program should take the same. */
const LOCK = 0x6261636b7570n;

/** A table of logs may be large. */
const LONGEST_MS = 3_600_000;

const LOCK_TIMEOUT_MS = 2000;
const PATIENCE = { attempts: 20, pauseMs: 1000 };
