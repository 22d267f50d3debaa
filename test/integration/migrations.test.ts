import assert from 'node:assert/strict';
import { migrate } from '../../src/db/migrate.ts';
import { startBackend, startReplica } from '../support/backend.ts';
import { createDatabase, createEmptyDatabase, type Database, openTestOrm } from '../support/database.ts';

const TABLES = [
  'backup_controllers',
  'backup_course_runs',
  'backup_courses',
  'backup_exclusives',
  'backup_log_heads',
  'backup_log_imports',
  'backup_log_requests',
  'backup_log_writers',
  'backup_logs',
  'backup_payload_chunks',
  'backup_payloads',
  'backup_removals',
  'backup_requests',
  'backup_settings',
];

describe('The migrations', () => {
  it('make the schema that the entities describe', async () => {
    await using migrated = await createDatabase();
    await using described = await createEmptyDatabase();
    await using orm = await open(described);
    await orm.schema.create();
    const [actual, expected] = [await schemaOf(migrated), await schemaOf(described)];
    assert.ok(expected.length > 60);
    assert.deepEqual(actual, expected);
  });

  it('go down to nothing and up again', async () => {
    await using database = await createDatabase();
    await using orm = await open(database);
    const { snapshotOnMigrate } = orm.config.get('migrations');
    assert.equal(snapshotOnMigrate, false, 'a service that migrates would write over .snapshot.json in its sources');
    const before = await schemaOf(database);
    await orm.migrator.down({ to: 0 });
    assert.deepEqual(await schemaOf(database), []);
    assert.ok((await orm.migrator.up()).length > 0);
    assert.deepEqual(await schemaOf(database), before);
    await using replica = await startReplica(database.url);
    await replica.courses.upsertCourses({ courses: [{ courseId: 1n }] });
    const names = await database.query('select name from backup_settings order by 1');
    assert.deepEqual(names, [{ name: 'last_sweep' }, { name: 'token_key' }]);
  });

  it('run once when several replicas start at the same time on an empty database, and all of them serve', async () => {
    await using database = await createEmptyDatabase();
    await using stack = new AsyncDisposableStack();
    const replicas = await Promise.all(Array.from({ length: 4 }, () => startReplica(database.url)));
    for (const replica of replicas) stack.use(replica);
    assert.deepEqual(await tablesOf(database), TABLES);
    const migrations = await database.query('select name, count(*)::int as times from backup_migrations group by name');
    assert.ok(migrations.length > 0 && migrations.every(({ times }) => times === 1));

    const courses = [1n, 2n, 3n].map(courseId => ({ courseId }));
    await replicas[0]!.courses.upsertCourses({ courses });
    const { nextPageToken: pageToken } = await replicas[1]!.courses.listCourses({ pageSize: 1 });
    for (const replica of replicas) {
      assert.equal((await replica.courses.listCourses({ pageToken })).courses.length, 2, "another replica's token");
    }
  });

  it('change nothing of a database that is up to date', async () => {
    await using backend = await startBackend();
    await backend.courses.upsertCourses({ courses: [{ courseId: 1n }] });
    // When leases were last looked at is no setting of anybody's.
    const settings = () => backend.database.query("select * from backup_settings where name <> 'last_sweep'");
    const before = await settings();
    assert.equal(before.length, 1);
    await using second = await startReplica(backend.database.url);
    assert.equal((await second.courses.getCourse({ courseId: 1n })).course!.courseId, 1n);
    assert.deepEqual(await settings(), before);
  });

  it('give every database a key of its own', async () => {
    await using one = await createEmptyDatabase();
    await using other = await createEmptyDatabase();
    const keys = [];
    for (const database of [one, other]) {
      await migrate(database.url);
      keys.push((await database.query("select value from backup_settings where name = 'token_key'"))[0]!['value']);
    }
    assert.notEqual(keys[0], keys[1]);
    assert.match(String(keys[0]), /^[0-9a-f-]{72}$/);
  });
});

async function open(database: Database) {
  const orm = await openTestOrm(database.url);
  return Object.assign(orm, { [Symbol.asyncDispose]: () => orm.close() });
}

/** Columns, keys, checks and indexes as PostgreSQL itself writes them; the list of migrations is left out. */
function schemaOf(database: Database): Promise<unknown[]> {
  return database.query(`
    with tables as (
      select oid, relname from pg_class where relnamespace = 'public'::regnamespace and relkind = 'r' and relname <> 'backup_migrations'
    )
    select relname as table, attname as name, attidentity::text || ' ' || format_type(atttypid, atttypmod) || ' ' || attnotnull::text || ' ' ||
           coalesce(pg_get_expr(adbin, adrelid), '') as definition
    from tables join pg_attribute a on attrelid = tables.oid left join pg_attrdef on (adrelid, adnum) = (attrelid, attnum)
    where attnum > 0 and not attisdropped
    union all select relname, conname, pg_get_constraintdef(c.oid) from tables join pg_constraint c on conrelid = tables.oid
    union all select relname, indexrelid::regclass::text, pg_get_indexdef(indexrelid) from tables join pg_index on indrelid = tables.oid
    order by 1, 2, 3`);
}

async function tablesOf(database: Database): Promise<unknown[]> {
  const tables = await database.query(
    "select table_name from information_schema.tables where table_schema = 'public' and table_name <> 'backup_migrations' order by 1",
  );
  return tables.map(row => row['table_name']);
}
