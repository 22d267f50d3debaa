import assert from 'node:assert/strict';
import { DISTRIBUTED } from '../../../src/db/citus.ts';
import { moveTo } from '../../../src/db/move.ts';
import { clients, connect, startReplica } from '../../support/backend.ts';
import { describeOnCitus } from '../../support/citus.ts';
import type { Database } from '../../support/database.ts';
import { eventually } from '../../support/eventually.ts';
import { type Running, ready, run } from '../../support/process.ts';
import { append, newBackupId } from '../../support/writing.ts';
import { filled, holds, remove, rowsOf, schemaOf, write } from './moving.ts';

describeOnCitus('A database with data, to Citus and from it,', () => {
  for (const from of ['plain', 'partitioned'] as const)
    it(`is the same after a move from ${from} and a move back: rows, keys, indexes, checks, storage and rights`, async () => {
      await using database = await filled(1000, from);
      await database.query('alter table backup_log_heads set (fillfactor = 80)');
      const [rows, schema] = [await rowsOf(database, DISTRIBUTED), await schemaOf(database, DISTRIBUTED)];
      assert.ok((await moveTo(database.url, 'citus', () => {}))! >= 0);
      assert.deepEqual(await spreadTables(database), [...DISTRIBUTED].sort());
      assert.deepEqual(await rowsOf(database, DISTRIBUTED), rows);
      assert.deepEqual(await leftOvers(database), []);
      await database.query(`delete from backup_logs where backupid = md5('1')`);
      await database.query(
        `insert into backup_logs (backupid, id, loglevel, message, created_at) values (md5('1'), 1, 30, 'anew', 1)`,
      );
      const then = await rowsOf(database, DISTRIBUTED);
      assert.notDeepEqual(then, rows);
      assert.ok((await moveTo(database.url, from, () => {}))! >= 0);
      assert.deepEqual(await leftOfCitus(database), []);
      assert.deepEqual(await rowsOf(database, DISTRIBUTED), then);
      assert.deepEqual(await schemaOf(database, DISTRIBUTED), schema);
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
    const rows = await rowsOf(database, DISTRIBUTED);
    await using asked = run(process.execPath, ['src/cli/main.ts', 'engine'], { DATABASE_URL: database.url });
    await asked.exit();
    assert.equal(asked.output(), 'plain, on its way to citus\n');
    await replica[Symbol.asyncDispose]();
    const seen: Record<string, number> = {};
    await moveTo(database.url, 'citus', (table, n) => {
      seen[table] = n;
    });
    assert.ok((seen['backup_logs'] ?? 0) < 30_000, 'it has begun at the beginning');
    assert.deepEqual(await rowsOf(database, DISTRIBUTED), rows);
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
    assert.deepEqual(await rowsOf(database, DISTRIBUTED), rows);
  });

  it('is what it was, and without a trace on any node, when a move is abandoned', async () => {
    await using database = await filled(100);
    const [rows, schema] = [await rowsOf(database, DISTRIBUTED), await schemaOf(database, DISTRIBUTED)];
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
    assert.deepEqual([await rowsOf(database, DISTRIBUTED), await schemaOf(database, DISTRIBUTED)], [rows, schema]);
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
