import assert from 'node:assert/strict';
import { readEngine } from '../../../src/db/engine.ts';
import { migrate, requireSchema } from '../../../src/db/migrate.ts';
import { startReplica } from '../../support/backend.ts';
import { createEmptyDatabase, type Database } from '../../support/database.ts';
import { ready, run } from '../../support/process.ts';
import { append, newBackupId } from '../../support/writing.ts';

describe('ENGINE', () => {
  it('partitioned lays out a new database at once, by several replicas too, and it records what it is', async () => {
    await using database = await createEmptyDatabase();
    await using stack = new AsyncDisposableStack();
    const settings = { ENGINE: 'partitioned' };
    const replicas = await Promise.all([0, 1, 2].map(() => startReplica(database.url, settings)));
    for (const replica of replicas) stack.use(replica);
    assert.deepEqual(await kindsOf(database), { partitioned: 3, partitions: 48 });
    assert.deepEqual(await recorded(database), 'partitioned');
    const backupId = newBackupId();
    for (const replica of replicas) await append(replica, backupId, ['one']);
    const { entries } = await replicas[0]!.logs.listLogs({ backupId });
    assert.deepEqual(
      entries.map(({ id }) => id),
      [1n, 2n, 3n],
    );
  });

  it('plain is what a database is that does not say, and what it stays', async () => {
    await using database = await createEmptyDatabase();
    await migrate(database.url);
    await using _replica = await startReplica(database.url, { ENGINE: 'plain' });
    assert.deepEqual(await kindsOf(database), { partitioned: 0, partitions: 0 });
    assert.equal(await readEngine(async ({ text, values }) => (await database.query(text, values)) as never), 'plain');
  });

  it('that does not fit the database keeps the service from starting, and the message says what to do', async () => {
    await using plain = await createEmptyDatabase();
    await using partitioned = await createEmptyDatabase();
    await migrate(plain.url, 'plain');
    await migrate(partitioned.url, 'partitioned');
    await plain.query(
      `insert into backup_logs (backupid, id, loglevel, message, created_at) values ('a', 1, 30, '', 1)`,
    );
    for (const [database, ENGINE, is] of [
      [plain, 'partitioned', 'plain'],
      [partitioned, 'plain', 'partitioned'],
    ] as const)
      for (const MIGRATE of ['on', 'off']) {
        const env = { DATABASE_URL: database.url, ENGINE, MIGRATE, LISTEN: '127.0.0.1:0' };
        await using service = run(process.execPath, ['src/main.ts'], env);
        assert.equal(await service.exit(), 1);
        const said = `could not start: the database is ${is}, and ENGINE is ${ENGINE}: set it to ${is}, or run \`npm run cli -- engine ${ENGINE}\` first`;
        assert.ok(service.output().includes(said), service.output());
      }
    assert.deepEqual(await kindsOf(plain), { partitioned: 0, partitions: 0 });
    assert.deepEqual(await kindsOf(partitioned), { partitioned: 3, partitions: 48 });
  });

  it('is not laid out without the right to migrate', async () => {
    await using database = await createEmptyDatabase();
    await migrate(database.url);
    await assert.rejects(
      requireSchema(database.url, 'partitioned'),
      /the database is plain, and ENGINE is partitioned/,
    );
    assert.deepEqual(await kindsOf(database), { partitioned: 0, partitions: 0 });
  });

  it('is what `migrate` lays out, and the service serves it', async () => {
    await using database = await createEmptyDatabase();
    const env = { DATABASE_URL: database.url, ENGINE: 'partitioned', LISTEN: '127.0.0.1:0', SERVICE_LOG: 'silent' };
    await using cli = run(process.execPath, ['src/cli/main.ts', 'migrate'], env);
    assert.equal(await cli.exit(), 0, cli.output());
    assert.equal(await recorded(database), 'partitioned');
    await using service = run(process.execPath, ['src/main.ts'], { ...env, MIGRATE: 'off' });
    await ready(service);
    await using wrong = run(process.execPath, ['src/cli/main.ts', 'migrate'], { ...env, ENGINE: 'sharded' });
    assert.equal(await wrong.exit(), 2);
    assert.match(wrong.output(), /ENGINE is sharded; there are: plain, partitioned, citus/);
  });
});

async function recorded(database: Database): Promise<unknown> {
  return (await database.query("select value from backup_settings where name = 'engine'"))[0]?.['value'];
}

async function kindsOf(database: Database): Promise<unknown> {
  const [row] = await database.query(
    `select count(*) filter (where relkind = 'p')::int as partitioned, count(*) filter (where relkind = 'r' and relispartition)::int as partitions
     from pg_class where relname like 'backup_%'`,
  );
  return row;
}
