import assert from 'node:assert/strict';
import { readdirSync } from 'node:fs';
import { folderStore } from '../../../src/segment/folder.ts';
import { type Backend, startBackend, startReplica } from '../../support/backend.ts';
import { eventually } from '../../support/eventually.ts';
import { heldUntil, late } from '../../support/mishaps.ts';
import { repository, run } from '../../support/process.ts';
import { type S3, startS3 } from '../../support/s3.ts';
import { StoreWay } from '../../support/store-way.ts';
import { append, finish, newBackup } from '../../support/writing.ts';
import { eager, movedAll, newFolder, silence } from './moving.ts';

describe('An object that arrives late', () => {
  let open: AsyncDisposableStack;
  let s3: S3;
  let way: StoreWay;
  let backend: Backend;
  let settings: Record<string, string>;
  beforeEach(async () => {
    open = new AsyncDisposableStack();
    s3 = open.use(await startS3('logs'));
    way = open.use(await StoreWay.start(s3.endpoint));
    settings = { ...eager(''), ...way.settings('logs') };
    backend = open.use(await startBackend());
    const backupId = await newBackup(backend);
    await append(
      backend,
      backupId,
      Array.from({ length: 20 }, (_, i) => `line ${i}`),
    );
    await finish(backend, backupId);
    await silence(backend.database);
  });
  afterEach(() => open.disposeAsync());

  const query = (sql: string) => backend.database.query(sql);
  const keys = async (table: string) => (await query(`select key from ${table}`)).map(({ key }) => String(key));
  const onlyKept = () =>
    eventually(async () => {
      await query('update backup_segment_removals set due_at = 0');
      assert.deepEqual(s3.keys(), await keys('backup_log_segments'));
      assert.deepEqual(await keys('backup_segment_removals'), []);
    });

  it('when its writer has given up, and moved the log by another one, is not forgotten', async () => {
    const arrives = Promise.withResolvers<void>();
    const first = late(() => arrives.promise);
    way.mishap = async (asked, passing) => {
      if (asked.method === 'PUT') way.mishap = undefined;
      await first(asked, passing);
    };
    await using mover = await startReplica(backend.database.url, settings);
    await movedAll(backend.database);
    assert.equal(mover.app.segments.failed, 1);
    const removed = mover.app.segments.removed;
    // A round in between, in which it is not to be taken for removed.
    const round = mover.app.segments.lastRound;
    await eventually(() => assert.ok(mover.app.segments.lastRound > round));
    arrives.resolve();
    await way.arrived();
    assert.equal(s3.keys().length, 2);
    await onlyKept();
    assert.equal(mover.app.segments.removed, removed + 1);
  });

  it('when it was taken for one that never comes, is removed by its writer, who stood still for long', async () => {
    const released = Promise.withResolvers<void>();
    way.mishap = heldUntil(released.promise);
    await using _mover = await startReplica(backend.database.url, settings);
    await way.writing();
    {
      await using _cleaner = await startReplica(backend.database.url, { ...settings, SEGMENT_AFTER: 'off' });
      await eventually(async () => {
        await query('update backup_segment_removals set due_at = 0');
        assert.deepEqual(await keys('backup_segment_removals'), []);
      }, 8000);
    }
    released.resolve();
    await movedAll(backend.database);
    await onlyKept();
  });
});

describe('A folder in which a writer was killed', () => {
  it('has nothing left of what was begun there, when that is removed', async () => {
    using folder = newFolder();
    const key = 'a/1-2.seg';
    const program = `import { folderStore } from '${repository}/src/segment/folder.ts';
      await folderStore('${folder.path}').put('${key}', Buffer.alloc(2 ** 29), new AbortController().signal);`;
    {
      await using writer = run('node', ['--input-type=module', '--eval', program]);
      await eventually(() => assert.notDeepEqual(folder.objects(), [], writer.output()));
    }
    const left = folder.objects();
    assert.equal(left.length, 1);
    assert.ok(!left[0]!.endsWith(key), 'it was finished');
    await folderStore(folder.path).remove(key, new AbortController().signal);
    assert.deepEqual(readdirSync(folder.path), []);
  });
});
