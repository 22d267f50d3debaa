import { readdir } from 'node:fs/promises';
import { parse } from 'node:path';
import type { MikroORM } from '@mikro-orm/postgresql';
import pg from 'pg';
import { MIGRATIONS } from './orm.ts';

/** Brings the schema up to date. One replica at a time does it, the others wait; the lock goes with the connection, however it ends. */
export async function migrate(orm: MikroORM, url: string): Promise<string[]> {
  const client = new pg.Client({ connectionString: url, application_name: 'backup-management migrations' });
  await client.connect();
  try {
    if (await isUpToDate(client)) return [];
    await client.query('select pg_advisory_lock($1)', [LOCK]);
    const applied = await orm.migrator.up();
    return applied.map(migration => migration.name);
  } finally {
    await client.end();
  }
}

/** Whether there is nothing to do, as at nearly every start: the migrator takes 60 ms to find that out. */
async function isUpToDate(client: pg.Client): Promise<boolean> {
  const files = (await readdir(MIGRATIONS)).filter(file => file.endsWith('.ts'));
  const { rows } = await client.query("select to_regclass('backup_migrations') is not null as there");
  if (!rows[0].there) return false;
  const applied = new Set((await client.query('select name from backup_migrations')).rows.map(({ name }) => name));
  return files.every(file => applied.has(parse(file).name));
}

/** "backup" in hexadecimal digits of ASCII: no other program should take the same. */
const LOCK = 0x6261636b7570n;
