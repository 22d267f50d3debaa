import type { MikroORM } from '@mikro-orm/postgresql';
import pg from 'pg';

/** Brings the schema up to date. One replica at a time does it, the others wait; the lock goes with the connection, however it ends. */
export async function migrate(orm: MikroORM, url: string): Promise<string[]> {
  const client = new pg.Client({ connectionString: url, application_name: 'backup-management migrations' });
  await client.connect();
  try {
    await client.query('select pg_advisory_lock($1)', [LOCK]);
    const applied = await orm.migrator.up();
    return applied.map(migration => migration.name);
  } finally {
    await client.end();
  }
}

/** "backup" in hexadecimal digits of ASCII: no other program should take the same. */
const LOCK = 0x6261636b7570n;
