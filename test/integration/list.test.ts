import { strict as assert } from 'node:assert';
import { LogLevel, LogOrder } from '../../src/gen/backup/v1/log_pb.ts';
import { type Backend, startBackend } from '../support/backend.ts';
import { refused } from '../support/status.ts';
import { append, newBackupId, writeAll } from '../support/writing.ts';

describe('LogService.ListLogs', () => {
  let backend: Backend;
  before(async () => {
    backend = await startBackend();
  });
  after(() => backend[Symbol.asyncDispose]());

  /** All pages; fails when a page is larger than asked. */
  async function pages(request: Parameters<Backend['logs']['listLogs']>[0]) {
    const all = [];
    for (let pageToken = ''; ; ) {
      const page = await backend.logs.listLogs({ ...request, pageToken });
      assert.ok(page.entries.length <= (request.pageSize || 100));
      all.push(page.entries);
      if (!page.nextPageToken) return all;
      pageToken = page.nextPageToken;
    }
  }

  const messages = (all: Awaited<ReturnType<typeof pages>>) => all.flat().map(entry => entry.message);

  it('is empty for a backup without entries', async () => {
    assert.deepEqual(await pages({ backupId: newBackupId() }), [[]]);
  });

  it('pages in both orders, whatever the page size', async () => {
    const backupId = newBackupId();
    const texts = Array.from({ length: 250 }, (_, i) => `${i}`);
    await append(backend, backupId, texts);
    for (const pageSize of [1, 7, 125, 250, 1000]) {
      assert.deepEqual(messages(await pages({ backupId, pageSize })), texts);
      assert.deepEqual(messages(await pages({ backupId, pageSize, order: LogOrder.NEWEST_FIRST })), texts.toReversed());
    }
    assert.equal((await backend.logs.listLogs({ backupId })).entries.length, 100);
    assert.equal((await pages({ backupId, pageSize: 250 })).length, 1);
    const [first] = (await backend.logs.listLogs({ backupId, pageSize: 1 })).entries;
    assert.deepEqual([first!.backupId, first!.id, first!.level], [backupId, 1n, LogLevel.INFO]);
  });

  it('filters by level, time and text, one by one and together', async () => {
    const backupId = newBackupId();
    const entry = (seconds: number, level: LogLevel, message: string) => ({
      level,
      message,
      createTime: { seconds: BigInt(seconds), nanos: 500 },
    });
    await backend.logs.appendLogs({
      backupId,
      entries: [
        entry(100, LogLevel.DEBUG, 'Reading 100% of a_b'),
        entry(200, LogLevel.ERROR, 'reading failed'),
        entry(300, LogLevel.WARNING, 'ÉTÉ \\ backslash'),
        entry(400, LogLevel.ERROR, 'other'),
      ],
    });
    const found = async (filter: object) =>
      messages(await pages({ backupId, pageSize: 1, ...filter })).map(text => text.slice(0, 5));
    const at = (seconds: number, nanos = 500) => ({ seconds: BigInt(seconds), nanos });
    assert.deepEqual(await found({ maxLevel: LogLevel.ERROR }), ['readi', 'other']);
    assert.deepEqual(await found({ maxLevel: LogLevel.WARNING }), ['readi', 'ÉTÉ \\', 'other']);
    assert.deepEqual(await found({ window: { start: at(200), end: at(400) } }), ['readi', 'ÉTÉ \\']);
    assert.deepEqual(await found({ window: { start: at(200, 501), end: at(400, 501) } }), ['ÉTÉ \\', 'other']);
    assert.deepEqual(await found({ window: { end: at(100) } }), []);
    assert.deepEqual(await found({ text: 'READING' }), ['Readi', 'readi']);
    assert.deepEqual(await found({ text: '0%' }), ['Readi']);
    assert.deepEqual(await found({ text: 'a_b' }), ['Readi']);
    assert.deepEqual(await found({ text: 'a%b' }), []);
    assert.deepEqual(await found({ text: '\\ b' }), ['ÉTÉ \\']);
    assert.deepEqual(await found({ text: 'été' }), ['ÉTÉ \\']);
    assert.deepEqual(await found({ text: 'reading', maxLevel: LogLevel.ERROR, window: { start: at(150) } }), ['readi']);
  });

  it('keeps pages of gigantic entries below 4 MiB', async () => {
    const backupId = newBackupId();
    const large = 'é'.repeat(512 * 1024);
    for (let i = 0; i < 9; i++) await append(backend, backupId, [`${i}${large.slice(1)}`, 'small']);
    for (const order of [LogOrder.OLDEST_FIRST, LogOrder.NEWEST_FIRST]) {
      const all = await pages({ backupId, pageSize: 1000, order });
      assert.equal(all.flat().length, 18);
      assert.ok(all.length >= 3 && all.length <= 5, `${all.length} pages`);
    }
  });

  it('gives every entry that was there throughout exactly once while others come', async () => {
    const backupId = newBackupId();
    await append(
      backend,
      backupId,
      Array.from({ length: 200 }, (_, i) => `old ${i}`),
    );
    const writing = writeAll([backend], backupId, 'new', 200);
    for (const order of [LogOrder.OLDEST_FIRST, LogOrder.NEWEST_FIRST]) {
      const old = messages(await pages({ backupId, pageSize: 9, order })).filter(message => message.startsWith('old'));
      assert.equal(old.length, 200);
      assert.equal(new Set(old).size, 200);
    }
    await writing;
  });

  it('refuses a page token of other arguments, an altered one and garbage', async () => {
    const backupId = newBackupId();
    await append(backend, backupId, ['a', 'b', 'c']);
    const { nextPageToken: pageToken } = await backend.logs.listLogs({ backupId, pageSize: 1 });
    assert.equal((await backend.logs.listLogs({ backupId, pageSize: 2, pageToken })).entries.length, 2);
    for (const request of [
      { backupId: newBackupId(), pageToken },
      { backupId, order: LogOrder.NEWEST_FIRST, pageToken },
      { backupId, text: 'a', pageToken },
      { backupId, pageToken: `${pageToken}AA` },
      { backupId, pageToken: 'garbage' },
    ]) {
      await refused(backend.logs.listLogs(request), { code: 'INVALID_ARGUMENT', reason: 'PAGE_TOKEN_INVALID' });
    }
  });
});
