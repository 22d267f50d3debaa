import { strict as assert } from 'node:assert';
import { randomBytes } from 'node:crypto';
import { type Engine, engines, workOn } from '../../src/db/engine.ts';
import { migrate } from '../../src/db/migrate.ts';
import { openOrm } from '../../src/db/orm.ts';
import { Cluster } from './citus.ts';
import { eventually } from './eventually.ts';
import { query } from './query.ts';

// Named by whoever began: files run in processes of their own.
process.env['TEST_TEMPLATE'] ??= `backup_template_${process.pid}`;
const TEMPLATE = process.env['TEST_TEMPLATE'];

/** What this run of the suite has its databases laid out for. */
export const engine: Engine = engines.find(name => name === process.env['ENGINE']) ?? 'plain';
workOn(engine); // for tests that call functions of the service themselves

/** A database of a test's own, migrated; cloned from a template in some 30 ms. */
export type Database = AsyncDisposable & {
  readonly url: string;
  /** Runs SQL on it, on a connection of its own. */
  query(sql: string, values?: unknown[]): Promise<Record<string, unknown>[]>;
};

export async function createDatabase(): Promise<Database> {
  const name = `backup_test_${randomBytes(6).toString('hex')}`;
  if (engine === 'citus') await cluster().clone(name, TEMPLATE!);
  else await administer(`create database ${name} template ${TEMPLATE} strategy file_copy`);
  const url = urlOf(name);
  return {
    url,
    query: (sql, values) => query(url, sql, values),
    async [Symbol.asyncDispose]() {
      // Whoever used the database must be gone by now: a connection that is left is a leak of the service.
      await eventually(async () => {
        const left = await query(
          serverUrl(),
          "select application_name, query from pg_stat_activity where datname = $1 and backend_type = 'client backend' and application_name not like 'citus_internal%'",
          [name],
        );
        assert.deepEqual(left, []);
      });
      await drop(name);
    },
  };
}

export async function createTemplate(): Promise<void> {
  await drop(TEMPLATE!);
  await createBare(TEMPLATE!);
  await migrate(urlOf(TEMPLATE), engine);
}

export async function dropTemplate(): Promise<void> {
  await drop(TEMPLATE!);
}

export function openTestOrm(url: string): ReturnType<typeof openOrm> {
  return openOrm({ url, poolSize: 5, connectTimeoutMs: 20_000, statementTimeoutMs: 60_000, log: () => {} });
}

/** An empty database, without the schema. */
export function createEmptyDatabase(): Promise<Database> {
  return emptyDatabase(createBare);
}

/** The same, which is no cluster's whatever the engine is. */
export function createBareDatabase(): Promise<Database> {
  return emptyDatabase(name => administer(`create database ${name}`));
}

async function emptyDatabase(create: (name: string) => Promise<void>): Promise<Database> {
  const name = `backup_test_${randomBytes(6).toString('hex')}`;
  await create(name);
  const url = urlOf(name);
  return {
    url,
    query: (sql, values) => query(url, sql, values),
    [Symbol.asyncDispose]: () => everywhere(`drop database if exists ${name} with (force)`),
  };
}

/** Runs SQL on the server's own database. */
export async function administer(sql: string): Promise<void> {
  await query(serverUrl(), sql);
}

async function createBare(name: string): Promise<void> {
  if (engine === 'citus') await cluster().create(name);
  else await administer(`create database ${name}`);
}

/** Again, if it is in use: Citus connects to databases by itself. */
function drop(name: string): Promise<void> {
  const dropping = () => everywhere(`drop database if exists ${name} with (force)`);
  return engine === 'citus' ? eventually(dropping) : dropping();
}

/** Runs SQL on the server, and on every node of its cluster if it is of one. */
async function everywhere(sql: string): Promise<void> {
  if (engine === 'citus') await cluster().administer(sql);
  else await administer(sql);
}

let known: Cluster | undefined;

function cluster(): Cluster {
  known ??= new Cluster(serverUrl());
  return known;
}

function serverUrl(): string {
  return process.env['TEST_DATABASE_URL']!;
}

function urlOf(database: string): string {
  const url = new URL(serverUrl());
  url.pathname = `/${database}`;
  return url.href;
}
