import { strict as assert } from 'node:assert';
import { join } from 'node:path';
import { clients, connect } from '../support/backend.ts';
import { createDatabase, type Database } from '../support/database.ts';
import { locked } from '../support/locked.ts';
import { ready, run } from '../support/process.ts';
import { append, newBackupId } from '../support/writing.ts';
import { versionWith } from './other-version.ts';

/** A statement that gives up its lock lets those go on who wait behind it; then it asks again. */
const LOCK_TIMEOUT_MS = 2000;

describe('A migration', () => {
  it('that fails half-way is told and leaves nothing, others go on, and the next start works', async () => {
    await using database = await createDatabase();
    const before = await schemaOf(database);
    await using old = serve(database);
    const channel = connect(await ready(old));
    const statements = [
      'create table backup_news (id int)',
      'alter table backup_logs add news int',
      'drop index backup_controllers_id',
    ];
    using broken = versionWith([...statements, 'insert into backup_news select 1 / 0']);
    await using failing = serve(database, broken.sources);
    assert.equal(await failing.exit(), 1);
    assert.match(failing.output(), /^Backup Management could not start: .*division by zero/m);
    assert.deepEqual(await schemaOf(database), before);
    await append(clients(channel), newBackupId(), ['the old version goes on']);

    using mended = versionWith([...statements, 'insert into backup_news select 1']);
    await using next = serve(database, mended.sources);
    const other = connect(await ready(next));
    await append(clients(other), newBackupId(), ['the new one serves']);
    await append(clients(channel), newBackupId(), ['and the old one, too']);
    assert.deepEqual(await database.query('select id from backup_news'), [{ id: 1 }]);
    channel.close();
    other.close();
  });

  it('that has to wait for a lock keeps nobody else waiting for long, and comes through when it is free', async () => {
    await using database = await createDatabase();
    await using old = serve(database);
    const channel = connect(await ready(old));
    using version = versionWith(['alter table backup_logs add news int']);
    const reader = await locked(database, 'select from backup_logs limit 1');
    await using next = serve(database, version.sources);
    let given = 0;
    let longest = 0;
    // Until it has given up twice.
    for (let waiting = false; given < 2; ) {
      const begun = performance.now();
      await append(clients(channel), newBackupId(), ['meanwhile']);
      longest = Math.max(longest, performance.now() - begun);
      const now = (await waiters(database)) > 0;
      if (waiting && !now) given++;
      waiting = now;
    }
    assert.ok(longest < LOCK_TIMEOUT_MS + 1500, `somebody has waited for ${longest} ms`);
    await reader[Symbol.asyncDispose]();
    await ready(next);
    const columns = await database.query("select from information_schema.columns where column_name = 'news'");
    assert.equal(columns.length, 1);
    channel.close();
  });
});

function serve({ url }: Database, sources = '.') {
  return run(process.execPath, [join(sources, 'src/main.ts')], {
    DATABASE_URL: url,
    LISTEN: '127.0.0.1:0',
    SERVICE_LOG: 'silent',
  });
}

async function waiters(database: Database): Promise<number> {
  return (
    await database.query(
      "select from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock' and query like 'alter table%'",
    )
  ).length;
}

function schemaOf(database: Database): Promise<unknown[]> {
  return database.query(`
    select relname, attname, format_type(atttypid, atttypmod) as type from pg_class join pg_attribute on attrelid = pg_class.oid
    where relnamespace = 'public'::regnamespace and attnum > 0 and not attisdropped
    union all select 'migration', name, '' from backup_migrations order by 1, 2`);
}
