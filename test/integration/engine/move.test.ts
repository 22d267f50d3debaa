import assert from 'node:assert/strict';
import { createHash, randomBytes } from 'node:crypto';
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

describe('A database with data', () => {
  it('is the same after a move and a move back, row by row, with its keys, indexes, checks, storage and rights', async () => {
    await using database = await filled(1000);
    const role = `reader_${randomBytes(4).toString('hex')}`;
    await database.query(
      `create role ${role}; grant select on backup_logs to ${role} with grant option; grant delete on backup_payload_chunks to public`,
    );
    await database.query('alter table backup_logs set (fillfactor = 90)');
    const [rows, schema] = [await rowsOf(database), await schemaOf(database)];
    assert.ok((await moveTo(database.url, 'partitioned', () => {}))! >= 0);
    assert.deepEqual(await rowsOf(database), rows);
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
      (await schemaOf(database)).map(divided),
      schema.filter(({ kind }) => kind !== 'options'),
    );
    await database.query(`delete from backup_logs where backupid = md5('1')`);
    await database.query(
      `insert into backup_logs (backupid, id, loglevel, message, created_at) values (md5('1'), 1, 30, 'anew', 1)`,
    );
    const then = await rowsOf(database);
    assert.notDeepEqual(then, rows);
    assert.ok((await moveTo(database.url, 'plain', () => {}))! >= 0);
    assert.deepEqual(await rowsOf(database), then);
    assert.deepEqual(await schemaOf(database), schema);
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
      write([one, other][i % 2]!, i === 0 ? [tailed] : undefined, kept, stop.signal),
    );
    const deleted: string[] = [];
    const deleter = remove(one, kept, deleted, stop.signal);
    const working = Promise.all([...writers, deleter]);
    // Whoever of them fails says why.
    const meanwhile = (check: () => void) => Promise.race([working, eventually(check, 60_000)]);
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
    for (const [backupId, messages] of kept) {
      const rows = await database.query('select id, message from backup_logs where backupid = $1 order by id', [
        backupId,
      ]);
      assert.deepEqual(
        rows,
        messages.map((message, i) => ({ id: String(i + 1), message })),
        backupId,
      );
    }
    const gone = 'select from backup_logs where backupid = any ($1)';
    assert.deepEqual(await database.query(gone, [deleted]), []);
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
    const rows = await rowsOf(database);
    await using asked = run(process.execPath, ['src/cli/main.ts', 'engine'], { DATABASE_URL: database.url });
    await asked.exit();
    assert.equal(asked.output(), 'plain, on its way to partitioned\n');
    const seen: Record<string, number> = {};
    await moveTo(database.url, 'partitioned', (table, n) => {
      seen[table] = n;
    });
    assert.ok((seen['backup_logs'] ?? 0) < 30_000, 'it has begun at the beginning');
    assert.deepEqual(await rowsOf(database), rows);
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
    const [rows, schema] = [await rowsOf(database), await schemaOf(database)];
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
    assert.deepEqual([await rowsOf(database), await schemaOf(database)], [rows, schema]);
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
async function write(
  replica: Replica,
  only: string[] | undefined,
  kept: Map<string, string[]>,
  signal: AbortSignal,
): Promise<void> {
  for (let i = 0; !signal.aborted; i++) {
    const backupId = only?.[0] ?? (await newBackup(replica));
    for (let k = 0; k < 10; k++) {
      const messages = [`${i} ${k} a`, `${i} ${k} b`];
      await append(replica, backupId, messages);
      kept.set(backupId, [...(kept.get(backupId) ?? []), ...messages]);
    }
  }
}

/** Deletes some of those that were there from the beginning, and some that are new and complete. */
async function remove(
  replica: Replica,
  kept: Map<string, string[]>,
  deleted: string[],
  signal: AbortSignal,
): Promise<void> {
  for (let i = 2500; !signal.aborted; i++) {
    const done = [...kept].find(([backupId, messages]) => messages.length === 20 && !deleted.includes(backupId))?.[0];
    for (const backupId of [done, i < 3000 ? await newBackup(replica, md5(i)) : undefined]) {
      if (!backupId) continue;
      await replica.controllers.deleteController({ backupId, force: true });
      deleted.push(backupId);
    }
  }
}

const md5 = (i: number) => createHash('md5').update(String(i)).digest('hex');

const SWAPPING = `select from pg_stat_activity
  where datname = current_database() and wait_event_type = 'Lock' and query like 'lock table%'`;

/** Plain, with so many logs of twenty entries. */
async function filled(logs: number): Promise<Database> {
  const database = await createEmptyDatabase();
  await migrate(database.url);
  await database.query(`
    insert into backup_log_heads (backupid, lastid, lastmicros) select md5(i::text), 20, 1 from generate_series(1, ${logs}) i;
    insert into backup_logs (backupid, id, loglevel, message, created_at, appended_micros)
    select md5(i::text), id, 30, 'line ' || id, 1700000000, nullif(id, 5) from generate_series(1, ${logs}) i, generate_series(1, 20) id;
    insert into backup_log_requests (backupid, requestid, digest, firstid, lastid, dropped, created_at)
    select md5(i::text), gen_random_uuid(), sha256(i::text::bytea), 1, 20, 0, extract(epoch from now())::bigint from generate_series(1, ${logs}) i;
    insert into backup_payload_chunks (backupid, uploadid, n, data)
    select md5(i::text), gen_random_uuid(), 1, repeat('A', 100) from generate_series(1, ${logs} / 10) i`);
  return database;
}

/** How many rows each table has, and what they say in the order of their keys. */
async function rowsOf(database: Database): Promise<unknown> {
  const sums = DIVIDED.map(
    table => `select '${table}' as table, count(*), md5(string_agg(r::text, '' order by r::text)) from ${table} r`,
  );
  return database.query(sums.join(' union all '));
}

type Described = { table: string; kind: string; name: string; definition: string };

async function schemaOf(database: Database): Promise<Described[]> {
  return (await database.query(
    `
    with tables as (select * from pg_class where relname = any ($1) and relnamespace = 'public'::regnamespace)
    select relname as table, 'column' as kind, attname as name, concat_ws(' ', format_type(atttypid, atttypmod), attnotnull, attstorage, pg_get_expr(adbin, adrelid)) as definition
    from tables join pg_attribute a on attrelid = tables.oid left join pg_attrdef on (adrelid, adnum) = (attrelid, attnum) where attnum > 0
    union all select relname, 'constraint', conname, pg_get_constraintdef(c.oid) from tables join pg_constraint c on conrelid = tables.oid
    union all select relname, 'index', indexrelid::regclass::text, pg_get_indexdef(indexrelid) from tables join pg_index on indrelid = tables.oid
    union all select relname, 'right', grantee::regrole::text, privilege_type || is_grantable from tables, aclexplode(relacl)
    union all select relname, 'owner', relowner::regrole::text, '' from tables
    union all select relname, 'options', '', reloptions::text from tables where reloptions is not null
    order by 1, 2, 3, 4`,
    [DIVIDED],
  )) as Described[];
}

/** Of a move: tables, triggers, functions and settings that are only there while it goes on. */
async function leftOvers(database: Database): Promise<unknown[]> {
  return database.query(`
    select relname::text as name from pg_class where relname ~ '_next(_|$)' and relname <> 'backup_courses_next'
    union all select tgname from pg_trigger where tgname like 'backup_mirror%'
    union all select proname from pg_proc where proname = 'backup_mirror'
    union all select name from backup_settings where name like 'engine_next%'`);
}
