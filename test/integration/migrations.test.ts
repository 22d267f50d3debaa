import assert from 'node:assert/strict';
import { readdirSync } from 'node:fs';
import pg from 'pg';
import { layOut } from '../../src/db/layout.ts';
import { migrate } from '../../src/db/migrate.ts';
import { MIGRATIONS } from '../../src/db/orm.ts';
import { transaction } from '../../src/db/sql.ts';
import { CourseStatus } from '../../src/gen/backup/v1/course_pb.ts';
import { startReplica } from '../support/backend.ts';
import { createEmptyDatabase, type Database, openTestOrm } from '../support/database.ts';
import { ingest, kept, start } from '../support/ingesting.ts';
import { Subscriber } from '../support/subscriber.ts';
import { append } from '../support/writing.ts';

const TABLES = [
  'backup_controllers',
  'backup_course_runs',
  'backup_courses',
  'backup_exclusives',
  'backup_log_heads',
  'backup_log_imports',
  'backup_log_requests',
  'backup_log_segments',
  'backup_log_writers',
  'backup_logs',
  'backup_payload_chunks',
  'backup_payloads',
  'backup_removals',
  'backup_requests',
  'backup_segment_removals',
  'backup_settings',
];

describe('The migrations', () => {
  it('make the schema that the entities describe', async () => {
    await using migrated = await plain();
    await using described = await createEmptyDatabase();
    await using orm = await open(described);
    await orm.schema.create();
    const [actual, expected] = [await schemaOf(migrated), await schemaOf(described)];
    assert.ok(expected.length > 60);
    assert.deepEqual(actual, expected);
  });

  it('go down to nothing and up again', async () => {
    await using database = await plain();
    await using orm = await open(database);
    const { snapshotOnMigrate } = orm.config.get('migrations');
    assert.equal(snapshotOnMigrate, false, 'a service that migrates would write over .snapshot.json in its sources');
    const before = await schemaOf(database);
    await orm.migrator.down({ to: 0 });
    assert.deepEqual(await schemaOf(database), []);
    assert.ok((await orm.migrator.up()).length > 0);
    assert.deepEqual(await schemaOf(database), before);
    await using replica = await startReplica(database.url, PLAIN);
    await replica.courses.upsertCourses({ courses: [{ courseId: 1n }] });
    const names = await database.query('select name from backup_settings order by 1');
    assert.deepEqual(names, [{ name: 'last_sweep' }, { name: 'token_key' }]);
  });

  it('run once when several replicas start at the same time on an empty database, and all of them serve', async () => {
    await using database = await createEmptyDatabase();
    await using stack = new AsyncDisposableStack();
    const replicas = await Promise.all(Array.from({ length: 4 }, () => startReplica(database.url, PLAIN)));
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
    await using database = await plain();
    await using backend = await startReplica(database.url, PLAIN);
    await backend.courses.upsertCourses({ courses: [{ courseId: 1n }] });
    // When leases were last looked at is no setting of anybody's.
    const settings = () => database.query("select * from backup_settings where name <> 'last_sweep'");
    const before = await settings();
    assert.equal(before.length, 1);
    await using second = await startReplica(database.url, PLAIN);
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

describe('A database of an earlier version, with data', () => {
  const states = readdirSync(MIGRATIONS)
    .filter(file => file.endsWith('.ts'))
    .map(file => file.replace('.ts', ''))
    .toSorted();
  const [done, waiting, held] = ['d', 'a', 'e'].map(digit => digit.repeat(32)) as [string, string, string];
  const token = '01234567-89ab-4def-8123-456789abcdef';

  for (const [i, state] of states.entries())
    it(`that ends with ${state} is brought up to date, and all of it is served`, async () => {
      await using database = await createEmptyDatabase();
      await using fresh = await plain();
      const orm = await openTestOrm(database.url);
      await orm.migrator.up({ to: state });
      await orm.close();
      const [hasLeases, hasWriters] = [i >= 1, i >= 5];
      await database.query(OLD_DATA);
      if (hasLeases)
        await database.query(
          `insert into backup_controllers (backupid, type, itemid, format, interactive, purpose, userid, status, execution, leasetoken, leaseworker, leaseexpires, leasems, attempt)
           values ('${held}', 'course', 8, 'moodle2', 0, 70, 0, 800, 2, '${token}', 'w', (extract(epoch from now()) * 1000)::bigint + 600000, 600000, 1)`,
        );
      if (hasWriters)
        await database.query(
          `insert into backup_log_writers values ('${done}', '${token}', 5, extract(epoch from now())::bigint)`,
        );

      await using replica = await startReplica(database.url, PLAIN);
      assert.deepEqual(await schemaOf(database), await schemaOf(fresh));
      const { controller } = await replica.controllers.getController({ backupId: done });
      assert.deepEqual([controller!.itemId, controller!.progress, controller!.userId], [7n, 1, 3n]);
      const { entries } = await replica.logs.listLogs({ backupId: done });
      assert.deepEqual(
        entries.map(({ id, message }) => [id, message]),
        [
          [1n, 'one'],
          [2n, 'two'],
          [3n, 'three'],
        ],
      );
      await using subscriber = new Subscriber(replica, {
        backupIds: [done],
        follow: true,
        start: { case: 'afterId', value: 0n },
      });
      await subscriber.received(3);
      assert.equal((await append(replica, done, ['four'])).firstId, 4n);
      await subscriber.received(4);
      const { course } = await replica.courses.getCourse({ courseId: 9n });
      assert.equal(course!.lastStatus, CourseStatus.OK);
      const { claimed } = await replica.controllers.claimControllers({ worker: 'w', maxControllers: 10 });
      assert.deepEqual(
        claimed.map(one => one.controller!.backupId),
        [waiting],
      );
      if (hasLeases) {
        const report = { backupId: held, leaseToken: token, progress: 0.5 };
        const { results } = await replica.controllers.reportProgress({ reports: [report] });
        assert.deepEqual([results[0]!.error, results[0]!.progress], [undefined, 0.5]);
      }
      if (hasWriters)
        assert.equal(kept((await ingest(replica, [start({ backupId: done, writerId: token })])).told), 5n);
    });

  const OLD_DATA = `
    insert into backup_controllers (backupid, type, itemid, format, interactive, purpose, userid, status, execution, progress)
    values ('${done}', 'course', 7, 'moodle2', 0, 10, 3, 1000, 1, 1), ('${waiting}', 'course', 8, 'moodle2', 0, 70, 3, 700, 2, 0);
    insert into backup_log_heads (backupid, lastid, sealedid, lastmicros) values ('${done}', 3, 3, extract(epoch from now()) * 1000000);
    insert into backup_logs (backupid, id, loglevel, message, created_at)
    select '${done}', id, 40, message, extract(epoch from now()) from (values (1, 'one'), (2, 'two'), (3, 'three')) lines (id, message);
    insert into backup_courses (courseid, laststarttime, lastendtime, laststatus) values (9, 100, 200, '1')`;
});

describe('A partitioned database of an earlier version', () => {
  const states = readdirSync(MIGRATIONS)
    .filter(file => file.endsWith('.ts'))
    .map(file => file.replace('.ts', ''))
    .toSorted();

  // Whatever a migration does to a table must also be possible where it is divided; the first one has not made all that are.
  for (const state of states.slice(1))
    it(`that ends with ${state} is brought up to date`, async () => {
      await using database = await createEmptyDatabase();
      await using fresh = await createEmptyDatabase();
      await migrate(fresh.url, 'partitioned');
      {
        await using orm = await open(database);
        await orm.migrator.up({ to: state });
      }
      await using pool = Object.assign(new pg.Pool({ connectionString: database.url, max: 1 }), {
        [Symbol.asyncDispose]: () => pool.end(),
      });
      assert.ok(await transaction(pool, sql => layOut(sql, 'partitioned')));
      await migrate(database.url, 'partitioned');
      const schema = await schemaOf(database);
      assert.ok(schema.length > 60);
      assert.deepEqual(schema, await schemaOf(fresh));
    });
});

/** Whatever the run of the suite is for: the entities and the schemas of earlier versions are plain. */
const PLAIN = { ENGINE: 'plain' };

async function plain(): Promise<Database> {
  const database = await createEmptyDatabase();
  await migrate(database.url);
  return database;
}

async function open(database: Database) {
  const orm = await openTestOrm(database.url);
  return Object.assign(orm, { [Symbol.asyncDispose]: () => orm.close() });
}

/** Columns, keys, checks and indexes as PostgreSQL itself writes them; the list of migrations is left out. */
function schemaOf(database: Database): Promise<unknown[]> {
  return database.query(`
    with tables as (
      select oid, relname from pg_class where relnamespace = 'public'::regnamespace and relkind in ('r', 'p') and relname <> 'backup_migrations'
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
    "select table_name from information_schema.tables where table_schema = 'public' and table_name like 'backup%' and table_name <> 'backup_migrations' order by 1",
  );
  return tables.map(row => row['table_name']);
}
