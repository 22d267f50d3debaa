import { strict as assert } from 'node:assert';
import pg from 'pg';
import { transaction } from '../../src/db/sql.ts';
import { guard, whileWanted } from '../../src/db/wanted.ts';
import { createDatabase } from '../support/database.ts';
import { eventually } from '../support/eventually.ts';

describe('A guarded pool', () => {
  async function start() {
    const database = await createDatabase();
    const pool = new pg.Pool({ connectionString: database.url, max: 1 });
    guard(pool, 1);
    await pool.query('create table things (n int)');
    const close = async () => {
      await pool.end();
      await database[Symbol.asyncDispose]();
    };
    const insert = { text: 'insert into things values (1)', values: [] };
    const things = async () => (await pool.query('select * from things')).rows.length;
    return { pool, insert, things, [Symbol.asyncDispose]: close };
  }

  it('commits nothing of a transaction that became unwanted between its statements, and its connection is not used again', async () => {
    await using open = await start();
    const { pool, insert, things } = open;
    const stop = new AbortController();
    const [{ pid: before }] = (await pool.query('select pg_backend_pid() as pid')).rows;
    const unwanted = whileWanted(stop.signal, () =>
      transaction(pool, async sql => {
        await sql(insert);
        stop.abort(new Error('gone'));
        await sql(insert);
      }),
    );
    await assert.rejects(unwanted, { message: 'gone' });
    const [{ pid: after }] = (await pool.query('select pg_backend_pid() as pid')).rows;
    assert.notEqual(after, before);
    assert.equal(await things(), 0);
  });

  it('does not commit behind the last statement either', async () => {
    await using open = await start();
    const { pool, insert, things } = open;
    const stop = new AbortController();
    const unwanted = whileWanted(stop.signal, () =>
      transaction(pool, async sql => {
        await sql(insert);
        stop.abort(new Error('gone'));
      }),
    );
    await assert.rejects(unwanted, { message: 'gone' });
    assert.equal(await things(), 0);
  });

  it('lets those finish who clean up, and forgets those who were done before', async () => {
    await using open = await start();
    const { pool, insert, things } = open;
    const stop = new AbortController();
    const [{ pid: before }] = (await whileWanted(stop.signal, () => pool.query('select pg_backend_pid() as pid'))).rows;
    stop.abort(new Error('gone'));
    await whileWanted(stop.signal, () => pool.query(insert));
    const [{ pid: after }] = (await pool.query('select pg_backend_pid() as pid')).rows;
    assert.deepEqual([after, await things()], [before, 1]);
  });

  it('refuses who would wait behind too many, and gives no connection to who has gone meanwhile', async () => {
    await using open = await start();
    const { pool, insert, things } = open;
    const client = await pool.connect();
    const stop = new AbortController();
    const waiting = whileWanted(stop.signal, () => pool.query(insert));
    waiting.catch(() => {});
    await eventually(() => assert.equal(pool.waitingCount, 1));
    await assert.rejects(pool.query(insert), { message: '1 wait for the database already' });
    stop.abort(new Error('gone'));
    client.release();
    await assert.rejects(waiting, { message: 'gone' });
    assert.equal(await things(), 0);
  });
});
