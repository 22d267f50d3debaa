import { readdir } from 'node:fs/promises';
import { parse } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import pg from 'pg';
import { MIGRATIONS, openOrm } from './orm.ts';
import { type Sql, sqlOn } from './sql.ts';

/**
 * Brings the schema up to date, and returns the names of the migrations that did. One replica at a time does it, the others wait; the lock goes
 * with the connection, however it ends. All of them are one transaction: when one fails nothing has changed. A statement that waits for a lock has
 * everybody wait behind it who uses the table; it gives up soon, and all are tried again a little later.
 */
export async function migrate(url: string): Promise<string[]> {
  await using client = await connected(url);
  if ((await readSchema(sqlOn(client))).missing.length === 0) return [];
  await client.query('select pg_advisory_lock($1)', [LOCK]);
  const orm = await openOrm({
    url,
    poolSize: 2,
    connectTimeoutMs: 10_000,
    statementTimeoutMs: LONGEST_MS,
    lockTimeoutMs: LOCK_TIMEOUT_MS,
    log: () => {},
  });
  try {
    for (let attempt = 1; ; attempt++) {
      try {
        return (await orm.migrator.up()).map(({ name }) => name);
      } catch (error) {
        if (!isLocked(error) || attempt === ATTEMPTS) throw error;
        await delay(PAUSE_MS);
      }
    }
  } finally {
    await orm.close();
  }
}

/** Fails unless all migrations of this version are there. Those of a later one may be, too. */
export async function requireSchema(url: string): Promise<void> {
  await using client = await connected(url);
  const { missing } = await readSchema(sqlOn(client));
  if (missing.length === 0) return;
  throw new Error(
    `the database lacks ${missing.join(', ')}: run \`npm run cli -- migrate\` as the role that owns the tables, or set MIGRATE=on`,
  );
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

/** Whether it has waited for a lock for too long, or stood in the way of somebody. */
function isLocked(error: unknown): boolean {
  for (let at = error; at instanceof Error; at = at.cause) {
    if (/^(55P03|40P01)$/.test((at as { code?: string }).code ?? '')) return true;
  }
  return false;
}

/** "backup" in hexadecimal digits of ASCII: no other program should take the same. */
const LOCK = 0x6261636b7570n;

/** A table of logs may be large. */
const LONGEST_MS = 3_600_000;

const LOCK_TIMEOUT_MS = 2000;
const PAUSE_MS = 1000;
const ATTEMPTS = 20;
