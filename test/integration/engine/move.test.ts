import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { DIVIDED } from '../../../src/db/engine.ts';
import { migrate } from '../../../src/db/migrate.ts';
import { moveTo } from '../../../src/db/move.ts';
import { type Replica, startReplica } from '../../support/backend.ts';
import { administer, createEmptyDatabase, type Database } from '../../support/database.ts';
import { eventually } from '../../support/eventually.ts';
import { locked } from '../../support/locked.ts';
import { run } from '../../support/process.ts';
import { Subscriber } from '../../support/subscriber.ts';
import { append, newBackup, newBackupId } from '../../support/writing.ts';
import { type Described, filled, holds, remove, rowsOf, schemaOf, write } from './moving.ts';

describe('A database with data', () => {
  it('is the same after a move and a move back, row by row, with its keys, indexes, checks, storage and rights', async () => {
    await using database = await filled(1000);
    const role = `reader_${randomBytes(4).toString('hex')}`;
    await database.query(
      `create role ${role}; grant select on backup_logs to ${role} with grant option; grant delete on backup_payload_chunks to public`,
    );
    await database.query('alter table backup_logs set (fillfactor = 90)');
    const [rows, schema] = [await rowsOf(database, DIVIDED), await schemaOf(database, DIVIDED)];
    assert.ok((await moveTo(database.url, 'partitioned', () => {}))! >= 0);
    assert.deepEqual(await rowsOf(database, DIVIDED), rows);
    const partitions = await database.query(
      `select count(*)::int as n, count(*) filter (where 'fillfactor=90' = any(reloptions))::int as filled,
              (select count(*)::int from pg_attribute where attrelid::regclass::text ~ 'chunks_p' and attname = 'data' and attstorage = 'e') as external
       from pg_class where relispartition and relkind = 'r'`,
    );
    assert.deepEqual(partitions, [{ n: 48, filled: 16, external: 16 }]);
    // PostgreSQL writes of a divided table's indexes that they are ON ONLY it; it has no storage parameters itself.
    const divided = ({ definition, ...rest }: Described) => ({
      ...rest,
      definition: definition.replace(' ON ONLY ', ' ON '),
    });
    assert.deepEqual(
      (await schemaOf(database, DIVIDED)).map(divided),
      schema.filter(({ kind }) => kind !== 'options'),
    );
    await database.query(`delete from backup_logs where backupid = md5('1')`);
    await database.query(
      `insert into backup_logs (backupid, id, loglevel, message, created_at) values (md5('1'), 1, 30, 'anew', 1)`,
    );
    const then = await rowsOf(database, DIVIDED);
    assert.notDeepEqual(then, rows);
    assert.ok((await moveTo(database.url, 'plain', () => {}))! >= 0);
    assert.deepEqual(await rowsOf(database, DIVIDED), then);
    assert.deepEqual(await schemaOf(database, DIVIDED), schema);
    assert.deepEqual(await leftOvers(database), []);
    await database.query(`drop owned by ${role}; drop role ${role}`);
  });

  it('moves while replicas append, finish and purge: nothing that was acknowledged is lost or doubled, and tails go on', async () => {
    await using database = await filled(3000);
    await using one = await startReplica(database.url, { ENGINE: 'plain' });
    await using other = await startReplica(database.url, { ENGINE: 'plain' });
    const stop = new AbortController();
    const tailed = newBackupId();
    await using subscriber = new Subscriber(other, { backupIds: [tailed], follow: true });
    const kept = new Map<string, string[]>();
    const writers = Array.from({ length: 4 }, (_, i) =>
      write([one, other][i % 2]!, kept, stop.signal, i === 0 ? tailed : undefined),
    );
    const deleted: string[] = [];
    const deleter = remove(one, kept, deleted, stop.signal, tailed);
    const working = Promise.all([...writers, deleter]);
    // Whoever of them fails says why.
    const meanwhile = (check: () => void) => Promise.race([working, eventually(check)]);
    await meanwhile(() => assert.ok(kept.size > 20 && deleted.length > 2));
    const before = deleted.length;
    const batches: string[] = [];
    await moveTo(database.url, 'partitioned', async table => void batches.push(table));
    assert.deepEqual([...new Set(batches)], [...DIVIDED]);
    const atTheEnd = kept.get(tailed)!.length;
    await meanwhile(() => assert.ok(kept.get(tailed)!.length > atTheEnd + 20 && deleted.length > before + 2));
    stop.abort();
    await working;

    assert.deepEqual(await database.query("select value from backup_settings where name = 'engine'"), [
      { value: 'partitioned' },
    ]);
    for (const backupId of deleted) kept.delete(backupId);
    await holds(database, kept, deleted);
    await subscriber.received(kept.get(tailed)!.length);
    // Both go on as they are, and a new one has to say so.
    await assert.rejects(startReplica(database.url, { ENGINE: 'plain' }), /the database is partitioned/);
    await using _third = await startReplica(database.url, { ENGINE: 'partitioned' });
  });

  it('goes on where it was when the move was killed in the middle, at whatever place', async () => {
    await using database = await filled(1500);
    await using replica = await startReplica(database.url, { ENGINE: 'plain' });
    for (const kill of ['copied of backup_logs: 0', 'copied of backup_logs: 0', 'copied of backup_log_requests']) {
      await using cli = run(process.execPath, ['src/cli/main.ts', 'engine', 'partitioned', '--to', database.url]);
      await eventually(() => assert.ok(cli.output().includes(kill), cli.output()));
      process.kill(-cli.child.pid!, 'SIGKILL');
      await cli.exit();
      await append(replica, newBackupId(), ['meanwhile']);
    }
    const rows = await rowsOf(database, DIVIDED);
    await using asked = run(process.execPath, ['src/cli/main.ts', 'engine'], { DATABASE_URL: database.url });
    await asked.exit();
    assert.equal(asked.output(), 'plain, on its way to partitioned\n');
    const seen: Record<string, number> = {};
    await moveTo(database.url, 'partitioned', (table, n) => {
      seen[table] = n;
    });
    assert.ok((seen['backup_logs'] ?? 0) < 30_000, 'it has begun at the beginning');
    assert.deepEqual(await rowsOf(database, DIVIDED), rows);
    assert.deepEqual(await leftOvers(database), []);
  });

  it('is moved without what is deleted, and with what is changed, while it is being copied', async () => {
    await using database = await filled(500);
    // Behind the first batch: it is gone for whoever looks for it in the copy, and still there for whoever copies.
    const last = 'backupid = (select max(backupid) from backup_logs) and id = 20';
    let deleting: Awaited<ReturnType<typeof locked>> | undefined;
    const commit = async () => {
      await deleting?.commit();
      await deleting?.[Symbol.asyncDispose]();
      deleting = undefined;
    };
    let waited: Promise<void> | undefined;
    await moveTo(database.url, 'partitioned', async table => {
      if (table !== 'backup_logs') return commit();
      if (waited !== undefined) return;
      deleting = await locked(database, `delete from backup_logs where ${last}`);
      waited = deleting.waited().then(commit);
      await database.query(
        "update backup_logs set message = 'changed' where backupid in (select min(backupid) from backup_logs union select max(backupid) from backup_logs) and id < 20",
      );
    });
    await waited;
    const changed = await database.query(
      "select count(*)::int as n, count(*) filter (where message = 'changed')::int as changed from backup_logs",
    );
    assert.deepEqual(changed, [{ n: 9999, changed: 38 }]);
  });

  it('is moved by the role that owns it, while another one that may only read and write does so', async () => {
    const name = `backup_${randomBytes(4).toString('hex')}`;
    await using after = new AsyncDisposableStack();
    await using database = await createEmptyDatabase();
    const as = (role: string) => Object.assign(new URL(database.url), { username: role, password: 'secret' }).href;
    const [owner, service] = [`${name}_owner`, `${name}_service`];
    for (const role of [owner, service]) {
      await administer(`create role ${role} login password 'secret'`);
      after.defer(() => administer(`drop role ${role}`));
    }
    await database.query(`
      do $$ begin execute format('alter database %I owner to ${owner}', current_database()); end $$;
      alter default privileges for role ${owner} grant select, insert, update, delete on tables to ${service}`);
    await migrate(as(owner));
    await using replica = await startReplica(as(service), { ENGINE: 'plain', MIGRATE: 'off' });
    const [kept, gone] = [newBackupId(), await newBackup(replica)];
    for (const backupId of [kept, gone]) await append(replica, backupId, ['before']);
    let next: Promise<Replica> | undefined;
    await moveTo(as(owner), 'partitioned', async () => {
      if (next !== undefined) return;
      next = startReplica(as(owner), { ENGINE: 'partitioned' });
      next.catch(() => {}); // told by whoever waits for it
      await append(replica, kept, ['meanwhile']);
      await replica.controllers.deleteController({ backupId: gone });
    });
    // One that begins with the new setting waits for the end of the move.
    await using other = await next!;
    await append(other, kept, ['behind']);
    const { entries } = await replica.logs.listLogs({ backupId: kept });
    assert.deepEqual(
      entries.map(({ message }) => message),
      ['before', 'meanwhile', 'behind'],
    );
    assert.deepEqual(await database.query('select distinct backupid from backup_logs'), [{ backupid: kept }]);
    const owners = 'select distinct relowner::regrole::text as name from pg_class where relname ~ $1';
    assert.deepEqual(await database.query(owners, ['^backup_']), [{ name: owner }]);
  });

  it('is plain again, and without a trace, when a move is abandoned', async () => {
    await using database = await filled(100);
    const [rows, schema] = [await rowsOf(database, DIVIDED), await schemaOf(database, DIVIDED)];
    const enough = new Error('enough');
    await assert.rejects(
      moveTo(database.url, 'partitioned', () => {
        throw enough;
      }),
      enough,
    );
    assert.notDeepEqual(await leftOvers(database), []);
    assert.equal(await moveTo(database.url, 'plain', () => {}), undefined);
    assert.deepEqual(await leftOvers(database), []);
    assert.deepEqual([await rowsOf(database, DIVIDED), await schemaOf(database, DIVIDED)], [rows, schema]);
  });

  it('is not moved when the copy is not what it should be', async () => {
    await using database = await filled(10);
    await assert.rejects(
      moveTo(database.url, 'partitioned', async table => {
        if (table !== 'backup_payload_chunks') return;
        await database.query(`update backup_logs_next set message = 'other' where backupid = md5('5') and id = 3`);
      }),
      /the copy of backup_logs is not what it is/,
    );
    assert.deepEqual(await database.query("select from backup_settings where name = 'engine'"), []);
  });

  it('does not keep others waiting for long when somebody holds a lock for long', async () => {
    await using database = await filled(10);
    await using replica = await startReplica(database.url, { ENGINE: 'plain' });
    const reader = await locked(database, 'select from backup_logs limit 1');
    const moving = moveTo(database.url, 'partitioned', () => {});
    let given = 0;
    let longest = 0;
    // Until it has given up twice.
    for (let waiting = false; given < 2; ) {
      const begun = performance.now();
      await append(replica, newBackupId(), ['meanwhile']);
      longest = Math.max(longest, performance.now() - begun);
      const now = (await database.query(SWAPPING)).length > 0;
      if (waiting && !now) given++;
      waiting = now;
    }
    assert.ok(longest < 2000, `somebody has waited for ${longest} ms`);
    await reader[Symbol.asyncDispose]();
    assert.ok((await moving)! < 2000);
  });

  it('that is being moved is not migrated', async () => {
    await using database = await filled(10);
    await assert.rejects(
      moveTo(database.url, 'partitioned', () => {
        throw new Error('stopped');
      }),
    );
    await database.query('delete from backup_migrations where id = (select max(id) from backup_migrations)');
    await assert.rejects(migrate(database.url, 'plain'), /the database is being moved to partitioned/);
    await assert.rejects(
      moveTo(database.url, 'partitioned', () => {}),
      /the database lacks Migration\d+/,
    );
  });
});

/** Appends to logs, one after the other, and notes what was acknowledged. */
const SWAPPING = `select from pg_stat_activity
  where datname = current_database() and wait_event_type = 'Lock' and query like 'lock table%'`;

/** Of a move: tables, triggers, functions and settings that are only there while it goes on. */
async function leftOvers(database: Database): Promise<unknown[]> {
  return database.query(`
    select relname::text as name from pg_class where relname ~ '_next(_|$)' and relname <> 'backup_courses_next'
    union all select tgname from pg_trigger where tgname like 'backup_mirror%'
    union all select proname from pg_proc where proname = 'backup_mirror'
    union all select name from backup_settings where name like 'engine_next%'`);
}
