import { strict as assert } from 'node:assert';
import pg from 'pg';
import type { Database } from './database.ts';
import { eventually } from './eventually.ts';
import { countWaiting } from './waiting.ts';

/** Keeps what a statement has locked until it is disposed of. */
export async function locked(database: Database, sql: string) {
  const client = new pg.Client({ connectionString: database.url });
  await client.connect();
  await client.query(`begin; ${sql}`);
  return {
    waited: () => eventually(async () => assert.equal(await countWaiting(database), 1)),
    commit: () => client.query('commit'),
    [Symbol.asyncDispose]: () => client.end(),
  };
}
