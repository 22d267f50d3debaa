import assert from 'node:assert/strict';
import { createServer, type Socket } from 'node:net';
import { startReplica } from '../../support/backend.ts';
import { createDatabase, type Database } from '../../support/database.ts';
import { eventually } from '../../support/eventually.ts';
import { locked } from '../../support/locked.ts';
import { repository, run } from '../../support/process.ts';
import { append, finish, newBackup } from '../../support/writing.ts';
import { eager, type Folder, moveAll, newFolder, silence, standing } from './moving.ts';

describe('A replica that is killed while it moves a log', () => {
  const messages = Array.from({ length: 100 }, (_, i) => `line ${i} ${'x'.repeat(80)}`);

  /** Starts a replica that moves, kills it when `when` has come, and says what it left: nothing of the log may be lost or doubled. */
  async function killed(when: (database: Database, backupId: string, folder: Folder) => Promise<Killing>) {
    using folder = newFolder();
    await using database = await createDatabase();
    await using replica = await startReplica(database.url, { SEGMENT_STORE: folder.store });
    const backupId = await newBackup(replica);
    await append(replica, backupId, messages);
    await finish(replica, backupId);
    await silence(database);
    const killing = await when(database, backupId, folder);
    {
      await using process = run('node', [`${repository}/src/main.ts`], {
        ...eager(folder.store),
        ...killing.settings,
        DATABASE_URL: database.url,
        LISTEN: '127.0.0.1:0',
        RETENTION: 'off',
      });
      await killing.reached().catch(async error => {
        await killing.over();
        throw new Error(`${error}: ${process.output()}`);
      });
    }
    await killing.over();
    await eventually(async () => assert.deepEqual(await standing(database, backupId), [0, 0, 100]));
    const { entries } = await replica.logs.listLogs({ backupId, pageSize: 1000 });
    assert.deepEqual(
      entries.map(({ message }) => message),
      messages,
    );

    // What it had begun is known, and goes; then another one does the work.
    assert.equal((await database.query('select from backup_segment_removals')).length, 1);
    const left = folder.objects();
    await database.query('update backup_segment_removals set due_at = 0');
    await moveAll(database, eager(folder.store));
    const kept = (await database.query('select key from backup_log_segments')).map(
      ({ key }) => `${folder.path}/${key}`,
    );
    await using _cleaner = await startReplica(database.url, { SEGMENT_STORE: folder.store, SEGMENT_INTERVAL: '20ms' });
    await eventually(() => assert.deepEqual(folder.objects().sort(), kept.sort()));
    assert.deepEqual(await database.query('select from backup_segment_removals'), []);
    const again = await replica.logs.listLogs({ backupId, pageSize: 1000 });
    assert.deepEqual(again.entries, entries);
    assert.equal((await standing(database, backupId))[0], 99);
    return left;
  }

  type Killing = { reached(): Promise<void>; over(): Promise<void>; settings?: Record<string, string> };

  const waitingFor = (sql: (backupId: string) => string) => async (database: Database, backupId: string) => {
    const lock = await locked(database, sql(backupId));
    return { reached: () => eventually(lock.waited), over: () => lock[Symbol.asyncDispose]() };
  };

  it('before its object is written leaves the log as it was', async () => {
    const left = await killed(async database => {
      const sockets = new Set<Socket>();
      const silent = createServer(socket => void sockets.add(socket.on('error', () => {})));
      await new Promise<void>(resolve => void silent.listen(0, '127.0.0.1', resolve));
      const { port } = silent.address() as { port: number };
      return {
        settings: {
          SEGMENT_STORE: `s3://b1?endpoint=http://127.0.0.1:${port}`,
          AWS_ACCESS_KEY_ID: 'a',
          AWS_SECRET_ACCESS_KEY: 'b',
        },
        reached: () =>
          eventually(async () => {
            assert.ok(sockets.size > 0);
            assert.equal((await database.query('select from backup_segment_removals')).length, 1);
          }),
        async over() {
          for (const socket of sockets) socket.destroy();
          silent.close();
        },
      };
    });
    assert.deepEqual(left, []);
  });

  it('behind that, with nothing changed in the database yet, leaves an object that goes', async () => {
    const left = await killed(
      waitingFor(backupId => `select from backup_log_heads where backupid = '${backupId}' for update`),
    );
    assert.equal(left.length, 1);
  });

  it('before the commit, with the rows deleted, leaves them all', async () => {
    const left = await killed(waitingFor(() => 'lock table backup_log_segments in share mode'));
    assert.equal(left.length, 1);
  });
});
