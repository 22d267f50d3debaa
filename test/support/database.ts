import { strict as assert } from 'node:assert';
import { randomBytes } from 'node:crypto';
import { type Engine, engines } from '../../src/db/engine.ts';
import { migrate } from '../../src/db/migrate.ts';
import { openOrm } from '../../src/db/orm.ts';
import { eventually } from './eventually.ts';
import { query } from './query.ts';

// Named by whoever began: files run in processes of their own.
process.env['TEST_TEMPLATE'] ??= `backup_template_${process.pid}`;
const TEMPLATE = process.env['TEST_TEMPLATE'];

/** What this run of the suite has its databases laid out for. */
export const engine: Engine = engines.find(name => name === process.env['ENGINE']) ?? 'plain';

/** A database of a test's own, migrated; cloned from a template in some 30 ms. */
export type Database = AsyncDisposable & {
  readonly url: string;
  /** Runs SQL on it, on a connection of its own. */
  query(sql: string, values?: unknown[]): Promise<Record<string, unknown>[]>;
};

export async function createDatabase(): Promise<Database> {
  const name = `backup_test_${randomBytes(6).toString('hex')}`;
  await administer(`create database ${name} template ${TEMPLATE} strategy file_copy`);
  const url = urlOf(name);
  return {
    url,
    query: (sql, values) => query(url, sql, values),
    async [Symbol.asyncDispose]() {
      // Whoever used the database must be gone by now: a connection that is left is a leak of the service.
      await eventually(async () => {
        const left = await query(
          serverUrl(),
          "select application_name, query from pg_stat_activity where datname = $1 and backend_type = 'client backend'",
          [name],
        );
        assert.deepEqual(left, []);
      });
      await administer(`drop database ${name} with (force)`);
    },
  };
}

export async function createTemplate(): Promise<void> {
  await administer(`drop database if exists ${TEMPLATE} with (force)`);
  await administer(`create database ${TEMPLATE}`);
  await migrate(urlOf(TEMPLATE), engine);
}

export async function dropTemplate(): Promise<void> {
  await administer(`drop database if exists ${TEMPLATE} with (force)`);
}

export function openTestOrm(url: string): ReturnType<typeof openOrm> {
  return openOrm({ url, poolSize: 5, connectTimeoutMs: 5000, statementTimeoutMs: 30_000, log: () => {} });
}

/** An empty database, without the schema. */
export async function createEmptyDatabase(): Promise<Database> {
  const name = `backup_test_${randomBytes(6).toString('hex')}`;
  await administer(`create database ${name}`);
  const url = urlOf(name);
  return {
    url,
    query: (sql, values) => query(url, sql, values),
    [Symbol.asyncDispose]: () => administer(`drop database ${name} with (force)`),
  };
}

/** Runs SQL on the server's own database. */
export async function administer(sql: string): Promise<void> {
  await query(serverUrl(), sql);
}

function serverUrl(): string {
  return process.env['TEST_DATABASE_URL']!;
}

function urlOf(database: string): string {
  const url = new URL(serverUrl());
  url.pathname = `/${database}`;
  return url.href;
}
