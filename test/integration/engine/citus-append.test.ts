import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import pg from 'pg';
import { APPEND } from '../../../src/db/citus-append.ts';
import { workOn } from '../../../src/db/engine.ts';
import { migrate } from '../../../src/db/migrate.ts';
import { sqlOn } from '../../../src/db/sql.ts';
import { append } from '../../../src/log/append.ts';
import { startReplica } from '../../support/backend.ts';
import { createDatabase, type Database, engine } from '../../support/database.ts';
import { sharded } from '../../support/shards.ts';
import * as writing from '../../support/writing.ts';

describe('The function that appends on a cluster', () => {
  // Needs one: `npm run test:citus`.
  if (engine !== 'citus') return;
  workOn('citus');
  const former = 'backup_append_00000000';
  const entry = { level: 30, message: 'a line', at: undefined };

  it('of a new version is made beside that of the version before, which goes on', async () => {
    await using database = await createDatabase();
    await database.query(`alter function ${APPEND} rename to ${former}`);
    await assert.rejects(startReplica(database.url, { MIGRATE: 'off' }), new RegExp(`lacks ${APPEND}: run `));
    await Promise.all([migrate(database.url, 'citus'), migrate(database.url)]);
    assert.deepEqual(await functions(database), [former, APPEND].sort());
    await using replica = await startReplica(database.url, { MIGRATE: 'off' });
    const backupId = writing.newBackupId();
    const call = `select lastid from ${former}($1, 1, '{30}', '{before}', '{}', '{}', 0, null, null, null, null, null, null, false)`;
    const { lastId } = await writing.append(replica, backupId, ['new']);
    const [{ lastid } = {}] = await database.query(call, [backupId]);
    assert.deepEqual([lastId, lastid], [1n, '2']);
    await using cluster = await sharded(database.url);
    const { statements } = await cluster.sent(() => cluster.pool.query(call, [backupId]));
    assert.equal(statements.length, 1, 'it is still done by the node of the log');
  });

  it('is made again where Citus has forgotten of which nodes it is', async () => {
    await using database = await createDatabase();
    await database.query(`drop function ${APPEND}`);
    await migrate(database.url, 'citus');
    await using cluster = await sharded(database.url);
    const appending = () => append(sqlOn(cluster.pool), writing.newBackupId(), [entry]);
    assert.equal((await cluster.sent(appending)).statements.length, 1);
  });

  it('is called by a role that may read and write the tables, and no more', async () => {
    await using database = await createDatabase();
    const role = `backup_${randomBytes(4).toString('hex')}`;
    // Citus makes it on the other nodes.
    await database.query(`create role ${role} login`);
    try {
      await database.query(`grant select, insert, update, delete on all tables in schema public to ${role}`);
      const url = new URL(database.url);
      url.username = role;
      const pool = new pg.Pool({ connectionString: url.href, max: 1 });
      try {
        const backupId = writing.newBackupId();
        for (const lastId of [1n, 2n]) assert.equal((await append(sqlOn(pool), backupId, [entry]))?.lastId, lastId);
        await assert.rejects(pool.query(`drop function ${APPEND}`), { code: '42501' });
      } finally {
        await pool.end();
      }
    } finally {
      // By way of a database of the cluster, or it would stay on the other nodes.
      await database.query(`drop owned by ${role}`);
      await database.query(`drop role ${role}`);
    }
  });
});

async function functions(database: Database): Promise<unknown[]> {
  const rows = await database.query("select proname from pg_proc where proname ~ '^backup_append_' order by 1");
  return rows.map(({ proname }) => proname);
}
