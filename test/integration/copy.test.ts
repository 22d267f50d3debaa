import { strict as assert } from 'node:assert';
import pg from 'pg';
import { copyRows } from '../../src/db/copy.ts';
import { createDatabase, type Database } from '../support/database.ts';

describe('Rows by COPY', () => {
  let database: Database;
  let pool: pg.Pool;
  before(async () => {
    database = await createDatabase();
    pool = new pg.Pool({ connectionString: database.url, max: 1, query_timeout: 2000 });
  });
  after(async () => {
    await pool.end();
    await database[Symbol.asyncDispose]();
  });

  async function texts(query: string): Promise<string[]> {
    const found: string[] = [];
    await copyRows(pool, query, row => found.push(row.toString('utf8', 6)));
    return found;
  }

  it('come one after another, however many and however long they are', async () => {
    assert.deepEqual(await texts('select 1 where false'), []);
    const many = await texts("select repeat('ä', i % 700 * 10) from generate_series(1, 2000) i");
    assert.deepEqual(
      many.map(text => text.length),
      Array.from({ length: 2000 }, (_, i) => ((i + 1) % 700) * 10),
    );
  });

  it('say what is wrong with a query, also in the middle, and leave the connection in order', async () => {
    await assert.rejects(texts('select nothing'), { code: '42703' });
    await assert.rejects(texts("select 1 / (5 - i) || '' from generate_series(1, 10) i"), { code: '22012' });
    assert.deepEqual(await texts("select 'fine'"), ['fine']);
  });

  it('throw what goes wrong with a row, once all have come', async () => {
    const bad = () => {
      throw new Error('not that one');
    };
    await assert.rejects(copyRows(pool, 'select i from generate_series(1, 1000) i', bad), /not that one/);
    assert.deepEqual(await texts("select 'fine'"), ['fine']);
  });

  it('give up on a statement that takes too long', async () => {
    await assert.rejects(texts("select pg_sleep(4)::text || ''"), /timeout/);
    assert.equal(pool.totalCount, 0);
    assert.deepEqual(await texts("select 'fine'"), ['fine']);
  });
});
