import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { setTimeout as delay } from 'node:timers/promises';
import { DISTRIBUTED } from '../../../src/db/citus.ts';
import type { Engine } from '../../../src/db/engine.ts';
import { migrate } from '../../../src/db/migrate.ts';
import { moveTo } from '../../../src/db/move.ts';
import { clients, connect, type Replica, startReplica } from '../../support/backend.ts';
import { describeOnCitus } from '../../support/citus.ts';
import { createEmptyDatabase, type Database } from '../../support/database.ts';
import { eventually } from '../../support/eventually.ts';
import { type Running, ready, run } from '../../support/process.ts';
import { append, newBackup, newBackupId } from '../../support/writing.ts';

describeOnCitus('A database with data, to Citus and from it,', () => {
  for (const from of ['plain', 'partitioned'] as const)
    it(`is the same after a move from ${from} and a move back: rows, keys, indexes, checks, storage and rights`, async () => {
      await using database = await filled(1000, from);
      await database.query('alter table backup_log_heads set (fillfactor = 80)');
      const [rows, schema] = [await rowsOf(database), await schemaOf(database)];
      assert.ok((await moveTo(database.url, 'citus', () => {}))! >= 0);
      assert.deepEqual(await spreadTables(database), [...DISTRIBUTED].sort());
      assert.deepEqual(await rowsOf(database), rows);
      assert.deepEqual(await leftOvers(database), []);
      await database.query(`delete from backup_logs where backupid = md5('1')`);
      await database.query(
        `insert into backup_logs (backupid, id, loglevel, message, created_at) values (md5('1'), 1, 30, 'anew', 1)`,
      );
      const then = await rowsOf(database);
      assert.notDeepEqual(then, rows);
      assert.ok((await moveTo(database.url, from, () => {}))! >= 0);
      assert.deepEqual(await leftOfCitus(database), []);
      assert.deepEqual(await rowsOf(database), then);
      assert.deepEqual(await schemaOf(database), schema);
      assert.deepEqual(await leftOvers(database), []);
    });

  it('moves while replicas append, finish and delete, and waits for them at the end: nothing acknowledged is lost or doubled', async () => {
    await using database = await filled(3000);
    const kept = new Map<string, string[]>();
    const deleted: string[] = [];
    for (const [now, next] of [
      ['plain', 'citus'],
      ['citus', 'plain'],
    ] as const) {
      const stop = new AbortController();
      const replicas = [await startReplica(database.url, { ENGINE: now })];
      replicas.push(await startReplica(database.url, { ENGINE: now }));
      const writers = replicas.map(replica => write(replica, kept, stop.signal));
      const deleter = remove(replicas[0]!, kept, deleted, stop.signal);
      const [atFirst, gone] = [kept.size, deleted.length];
      await eventually(() => assert.ok(kept.size > atFirst + 10 && deleted.length > gone + 2));
      let waits = 0;
      const moving = moveTo(
        database.url,
        next,
        () => {},
        () => void waits++,
      );
      await eventually(() => assert.ok(waits > 0), 120_000);
      const size = kept.size;
      await eventually(() => assert.ok(kept.size > size + 10));
      stop.abort();
      await Promise.all([...writers, deleter]);
      for (const replica of replicas) await replica[Symbol.asyncDispose]();
      await moving;
      for (const backupId of deleted) kept.delete(backupId);
      await holds(database, kept, deleted);
      await assert.rejects(startReplica(database.url, { ENGINE: now }), new RegExp(`the database is ${next}`));
    }
  });

  it('lets those that are started with the new setting wait until it is done', async () => {
    await using database = await filled(10);
    const old = await startReplica(database.url, { ENGINE: 'plain' });
    const backupId = newBackupId();
    await append(old, backupId, ['before']);
    const env = { DATABASE_URL: database.url, ENGINE: 'citus', LISTEN: '127.0.0.1:0', SERVICE_LOG: 'silent' };
    await using stack = new AsyncDisposableStack();
    let next: Running | undefined;
    await moveTo(
      database.url,
      'citus',
      () => {},
      async () => {
        // In a process of its own: statements are those of one engine in each.
        next ??= stack.use(run(process.execPath, ['src/main.ts'], env));
        await eventually(async () => assert.equal((await database.query(WAITING)).length, 1));
        await append(old, backupId, ['meanwhile']);
        await old[Symbol.asyncDispose]();
      },
    );
    const channel = connect(await ready(next!));
    stack.defer(() => channel.close());
    const replica = clients(channel);
    await append(replica, backupId, ['behind']);
    const { entries } = await replica.logs.listLogs({ backupId });
    assert.deepEqual(
      entries.map(({ message }) => message),
      ['before', 'meanwhile', 'behind'],
    );
  });

  it('goes on where it was when the move was killed in the middle, at whatever place', async () => {
    await using database = await filled(1500);
    const replica = await startReplica(database.url, { ENGINE: 'plain' });
    for (const kill of ['copied of backup_log_heads: 0', 'copied of backup_logs: 0', 'stop the replicas']) {
      await using cli = run(process.execPath, ['src/cli/main.ts', 'engine', 'citus', '--to', database.url]);
      await eventually(() => assert.ok(cli.output().includes(kill), cli.output()));
      process.kill(-cli.child.pid!, 'SIGKILL');
      await cli.exit();
      await append(replica, newBackupId(), ['meanwhile']);
    }
    const rows = await rowsOf(database);
    await using asked = run(process.execPath, ['src/cli/main.ts', 'engine'], { DATABASE_URL: database.url });
    await asked.exit();
    assert.equal(asked.output(), 'plain, on its way to citus\n');
    await replica[Symbol.asyncDispose]();
    const seen: Record<string, number> = {};
    await moveTo(database.url, 'citus', (table, n) => {
      seen[table] = n;
    });
    assert.ok((seen['backup_logs'] ?? 0) < 30_000, 'it has begun at the beginning');
    assert.deepEqual(await rowsOf(database), rows);
    // From it everything is one transaction.
    const enough = new Error('enough');
    await assert.rejects(
      moveTo(database.url, 'plain', table => {
        if (table === 'backup_payload_chunks') throw enough;
      }),
      enough,
    );
    assert.deepEqual(await leftOvers(database), []);
    assert.deepEqual(await spreadTables(database), [...DISTRIBUTED].sort());
    assert.deepEqual(await rowsOf(database), rows);
  });

  it('is what it was, and without a trace on any node, when a move is abandoned', async () => {
    await using database = await filled(100);
    const [rows, schema] = [await rowsOf(database), await schemaOf(database)];
    const enough = new Error('enough');
    await assert.rejects(
      moveTo(database.url, 'citus', () => {
        throw enough;
      }),
      enough,
    );
    assert.notDeepEqual(await leftOvers(database), []);
    assert.equal(await moveTo(database.url, 'plain', () => {}), undefined);
    assert.deepEqual(await leftOvers(database), []);
    assert.deepEqual([await rowsOf(database), await schemaOf(database)], [rows, schema]);
  });

  it('is moved with what is changed, and without what is deleted, while it is being copied', async () => {
    await using database = await filled(500);
    let changed = false;
    await moveTo(database.url, 'citus', async table => {
      if (table !== 'backup_logs' || changed) return;
      changed = true;
      await database.query('delete from backup_logs where id = 20');
      await database.query(`update backup_logs set message = 'changed' where id < 3`);
      await database.query(`update backup_log_heads set lastid = 19`);
      await database.query(`update backup_logs set id = 21 where id = 19`);
    });
    const counted = await database.query(
      `select count(*)::int as n, count(*) filter (where message = 'changed')::int as changed, max(id)::int as last from backup_logs`,
    );
    assert.deepEqual(counted, [{ n: 9500, changed: 1000, last: 21 }]);
    const heads = await database.query('select lastid, count(*)::int as n from backup_log_heads group by 1');
    assert.deepEqual(heads, [{ lastid: '19', n: 500 }]);
  });

  it('is not moved when the copy is not what it should be', async () => {
    await using database = await filled(10);
    await assert.rejects(
      moveTo(database.url, 'citus', async table => {
        if (table !== 'backup_payload_chunks') return;
        await database.query(`update backup_logs_next set message = 'other' where backupid = md5('5') and id = 3`);
      }),
      /the copy of backup_logs is not what it is/,
    );
    assert.deepEqual(await database.query("select from backup_settings where name = 'engine'"), []);
  });
});

/** A replica that is at its turn when the move has ended. */
const WAITING = `select from pg_stat_activity where datname = current_database() and application_name = 'backup-management migrations'
  and wait_event_type = 'Lock'`;

/** Appends to logs, one after the other, and notes what was acknowledged. */
async function write(replica: Replica, kept: Map<string, string[]>, signal: AbortSignal): Promise<void> {
  for (let i = 0; !signal.aborted; i++) {
    const backupId = await newBackup(replica);
    for (let k = 0; k < 10; k++) {
      const messages = [`${i} ${k} a`, `${i} ${k} b`];
      await append(replica, backupId, messages);
      kept.set(backupId, [...(kept.get(backupId) ?? []), ...messages]);
    }
  }
}

/** Deletes some that are complete. */
async function remove(
  replica: Replica,
  kept: Map<string, string[]>,
  deleted: string[],
  signal: AbortSignal,
): Promise<void> {
  while (!signal.aborted) {
    const done = [...kept].find(([backupId, messages]) => messages.length === 20 && !deleted.includes(backupId))?.[0];
    if (done) {
      await replica.controllers.deleteController({ backupId: done, force: true });
      deleted.push(done);
    }
    await delay(20);
  }
}

async function holds(database: Database, kept: Map<string, string[]>, deleted: string[]): Promise<void> {
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
  assert.deepEqual(await database.query('select from backup_logs where backupid = any ($1)', [deleted]), []);
}

/** With so many logs of twenty entries. */
async function filled(logs: number, laidOut: Engine = 'plain'): Promise<Database> {
  const database = await createEmptyDatabase();
  await migrate(database.url, laidOut);
  await database.query(`
    insert into backup_log_heads (backupid, lastid, lastmicros) select md5(i::text), 20, 1 from generate_series(1, ${logs}) i;
    insert into backup_logs (backupid, id, loglevel, message, created_at, appended_micros)
    select md5(i::text), id, 30, 'line ' || id, 1700000000, nullif(id, 5) from generate_series(1, ${logs}) i, generate_series(1, 20) id;
    insert into backup_log_requests (backupid, requestid, digest, firstid, lastid, dropped, created_at)
    select md5(i::text), gen_random_uuid(), sha256(i::text::bytea), 1, 20, 0, extract(epoch from now())::bigint from generate_series(1, ${logs}) i;
    insert into backup_log_writers (backupid, writerid, lastnumber, updated_at)
    select md5(i::text), gen_random_uuid(), i, 1 from generate_series(1, ${logs} / 10) i;
    insert into backup_log_segments (backupid, lastid, firstid, key, checksum, bytes, levels, firstseconds, firstmicros, lastmicros, proof)
    select md5(i::text), 2, 1, 'k' || i, 'c', 1, '{"30": 2}', 1, 1, 1, 'p' from generate_series(1, ${logs} / 10) i;
    insert into backup_payload_chunks (backupid, uploadid, n, data)
    select md5(i::text), gen_random_uuid(), 1, repeat('A', 100) from generate_series(1, ${logs} / 10) i`);
  return database;
}

/** How many rows each table has, and what they say. */
async function rowsOf(database: Database): Promise<unknown> {
  const found: Record<string, unknown> = {};
  for (const table of DISTRIBUTED) {
    const rows = (await database.query(`select r::text as row from ${table} r`)).map(({ row }) => row as string);
    found[table] = [rows.length, createHash('md5').update(rows.sort().join('\n')).digest('hex')];
  }
  return found;
}

async function spreadTables(database: Database): Promise<unknown> {
  const found = await database.query(
    "select logicalrelid::text as name from pg_dist_partition where partmethod = 'h' order by 1",
  );
  return found.map(({ name }) => name);
}

/** What is on the workers, and what the coordinator has of Citus only. */
async function leftOfCitus(database: Database): Promise<unknown[]> {
  const own = `select 'backup_committed_together' as name where to_regclass('backup_committed_together') is not null
    union all select proname from pg_proc where proname ~ '^backup_append'
    union all select logicalrelid::text from pg_dist_partition`;
  const elsewhere = `select result as name from run_command_on_workers($$
      select string_agg(name, ',') from (
        select relname as name from pg_class where relname ~ '^backup_' union all select proname from pg_proc where proname ~ '^backup_'
      ) as found $$) where result <> ''`;
  return [...(await database.query(own)), ...(await database.query(elsewhere))];
}

async function schemaOf(database: Database): Promise<unknown> {
  return database.query(
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
    [DISTRIBUTED],
  );
}

/** What a move has made and not taken away. */
async function leftOvers(database: Database): Promise<unknown[]> {
  const here = await database.query(
    `select relname as name from pg_class where relname ~ '^backup_(log|payload).*_next|^backup_engine_changes' union all select proname from pg_proc where proname = 'backup_mirror'
     union all select name from backup_settings where name like 'engine_next%' union all select tgname from pg_trigger where tgname like 'backup_mirror%'`,
  );
  const elsewhere = await database.query(
    `select result as name from run_command_on_workers($$ select string_agg(relname, ',') from pg_class where relname ~ '^backup_(log|payload).*_next' $$) where result <> ''`,
  );
  return [...here, ...elsewhere];
}
