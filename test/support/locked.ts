import { strict as assert } from 'node:assert';
import pg from 'pg';
import type { Database } from './database.ts';
import { eventually } from './eventually.ts';

/** Keeps what a statement has locked until it is disposed of. */
export async function locked(database: Database, sql: string) {
  const client = new pg.Client({ connectionString: database.url });
  await client.connect();
  await client.query(`begin; ${sql}`);
  return {
    waited: () =>
      eventually(async () => {
        const waiting = await database.query(
          "select from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'",
        );
        assert.equal(waiting.length, 1);
      }),
    commit: () => client.query('commit'),
    [Symbol.asyncDispose]: () => client.end(),
  };
}
