import assert from 'node:assert/strict';
import pg from 'pg';
import { LogOrder } from '../../../src/gen/backup/v1/log_pb.ts';
import { type Backend, startBackend } from '../../support/backend.ts';
import { eventually } from '../../support/eventually.ts';
import { refused } from '../../support/status.ts';
import { Subscriber } from '../../support/subscriber.ts';
import { countWaiting } from '../../support/waiting.ts';
import { append, finish, newBackup } from '../../support/writing.ts';
import { eager, type Folder, moveAll, newFolder, standing } from './moving.ts';

describe('A log that is moved while it is read', () => {
  const messages = Array.from({ length: 120 }, (_, i) => `Line ${i + 1} ${'x'.repeat(60)}`);
  let folder: Folder;
  let backend: Backend;
  let backupId: string;
  beforeEach(async () => {
    folder = newFolder();
    backend = await startBackend({ settings: { SEGMENT_STORE: folder.store } });
    backupId = await newBackup(backend);
    await append(backend, backupId, messages);
    await finish(backend, backupId);
  });
  afterEach(async () => {
    await backend[Symbol.asyncDispose]();
    folder[Symbol.dispose]();
  });

  /** Moves the log while something stands between the statement that has read its head and the one that reads its entries, or removes them. */
  async function between<T>(
    ask: () => Promise<T>,
    lock = 'lock table backup_logs in access exclusive mode',
  ): Promise<T> {
    const { database } = backend;
    // What a move does, to be done again in one transaction.
    await database.query('create table copied as select * from backup_logs');
    await moveAll(database, eager(folder.store));
    await database.query('create table moved as select * from backup_log_segments');
    await database.query('insert into backup_logs select * from copied where id < 120');
    await database.query('delete from backup_log_segments');
    await database.query('update backup_log_heads set movedid = 0');
    assert.deepEqual(await standing(database, backupId), [0, 0, 120]);

    const client = new pg.Client({ connectionString: database.url });
    await client.connect();
    try {
      await client.query(`begin; ${lock}`);
      const asked = ask();
      await eventually(async () => {
        assert.ok((await countWaiting(database, '%backup_logs%')) > 0);
      });
      await client.query(
        'delete from backup_logs where id < 120; insert into backup_log_segments select * from moved; update backup_log_heads set movedid = 119; commit',
      );
      return await asked;
    } finally {
      await client.end();
    }
  }

  for (const [how, request] of Object.entries({
    'from its beginning': {},
    'from its end': { order: LogOrder.NEWEST_FIRST },
    'by a text': { text: 'line' },
  }))
    it(`is listed as a whole ${how}`, async () => {
      const { entries } = await between(() => backend.logs.listLogs({ backupId, pageSize: 1000, ...request }));
      const found = entries.map(({ message }) => message);
      assert.deepEqual('order' in request ? found.toReversed() : found, messages);
    });

  it('is counted as a whole', async () => {
    assert.equal((await between(() => backend.logs.summarizeLogs({ backupId }))).total, 120n);
  });

  it('is tailed as a whole', async () => {
    await between(async () => {
      await using tail = new Subscriber(backend, { backupIds: [backupId] });
      await tail.over();
      assert.deepEqual(tail.history.messages(), messages);
    });
  });

  it('is tailed from the last ones as a whole', async () => {
    await between(async () => {
      await using tail = new Subscriber(backend, { backupIds: [backupId], start: { case: 'last', value: 90 } });
      await tail.over();
      assert.deepEqual(tail.history.messages(), messages.slice(30));
    });
  });

  for (const maxEntries of [0, 40])
    it(`is shortened by ${maxEntries || 'all its'} entries as if it had been moved before, or after`, async () => {
      const removed = await between(
        () => backend.logs.purgeLogs({ backupId, maxEntries }),
        'delete from backup_logs where id < 120',
      );
      assert.deepEqual([removed.entries, removed.more], maxEntries ? [40n, true] : [120n, false]);
      const { entries } = await backend.logs.listLogs({ backupId, pageSize: 1000 });
      const left = maxEntries ? messages.slice(maxEntries) : [];
      assert.deepEqual(
        entries.map(({ message }) => message),
        left,
      );
      assert.equal((await backend.logs.summarizeLogs({ backupId })).total, BigInt(left.length));
      const behind =
        'select from backup_log_segments s join backup_log_heads h on h.backupid = s.backupid and s.firstid < h.firstid';
      assert.deepEqual(await backend.database.query(behind), []);
    });

  it('is not taken for the log that had its id before', async () => {
    await using tail = new Subscriber(backend, { backupIds: [backupId], start: { case: 'afterId', value: 0n } });
    await tail.over();
    const tokens = tail.history.all('entries').map(({ resumeToken }) => resumeToken);
    await backend.controllers.deleteController({ backupId });
    await newBackup(backend, backupId);
    await append(
      backend,
      backupId,
      [...messages, ...messages].map(message => `another ${message}`),
    );
    await finish(backend, backupId);
    await moveAll(backend.database, eager(folder.store));
    for (const token of tokens) {
      const resumed = async () => {
        for await (const _ of backend.logs.tailLogs({
          backupIds: [backupId],
          start: { case: 'resumeToken', value: token },
        }));
      };
      await refused(resumed(), { code: 'ABORTED', reason: 'HISTORY_DIVERGED' });
    }
    assert.ok(tokens.length > 0);
  });
});
