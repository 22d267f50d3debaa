import { strict as assert } from 'node:assert';
import { LogLevel } from '../../src/gen/backup/v1/entry_pb.ts';
import { LogOrder } from '../../src/gen/backup/v1/log_pb.ts';
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

  it('gives ids and times of any size exactly', async () => {
    const backupId = newBackupId();
    const [first, last] = [2n ** 53n + 1n, 2n ** 53n + 5n];
    await backend.database.query('insert into backup_log_heads (backupid, firstid, lastid) values ($1, $2, $3)', [
      backupId,
      first,
      last,
    ]);
    await backend.database.query(
      `insert into backup_logs (backupid, id, loglevel, message, created_at, created_nanos, attempt)
       select $1, id, 40, 'x', 253402300799, 999999999, 2147483647 from generate_series($2::bigint, $3::bigint) id`,
      [backupId, first, last],
    );
    const ids = [0n, 1n, 2n, 3n, 4n].map(n => first + n);
    for (const order of [LogOrder.OLDEST_FIRST, LogOrder.NEWEST_FIRST]) {
      const entries = (await pages({ backupId, pageSize: 2, order })).flat();
      const expected = order === LogOrder.OLDEST_FIRST ? ids : ids.toReversed();
      assert.deepEqual(
        entries.map(({ id }) => id),
        expected,
      );
      const { createTime, attempt } = entries[0]!;
      assert.deepEqual(
        [createTime!.seconds, createTime!.nanos, attempt],
        [253_402_300_799n, 999_999_999, 2_147_483_647],
      );
    }
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

  it('keeps pages of long entries below 4 MiB, and no shorter than they have to be', async () => {
    const backupId = newBackupId();
    // A thousand of the shorter ones fit into a page, and of the longer ones not quite.
    for (const length of [3900, 4030, 4200]) {
      for (let i = 0; i < 2; i++) {
        await append(backend, backupId, Array<string>(500).fill('x'.repeat(length)));
      }
    }
    const bytes = (page: { message: string }[]) => page.reduce((sum, { message }) => sum + message.length + 80, 0);
    for (const order of [LogOrder.OLDEST_FIRST, LogOrder.NEWEST_FIRST]) {
      const all = await pages({ backupId, pageSize: 1000, order });
      assert.equal(all.flat().length, 3000);
      for (const page of all) assert.ok(bytes(page) <= 4 * 1024 * 1024);
      for (const page of all.slice(0, -1)) assert.ok(page.length === 1000 || bytes(page) > 4_100_000);
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

  it('lists the logs of all runs that match a filter, one after the other, in the order of their creation', async () => {
    await using own = await startBackend();
    const create = (userId: bigint) =>
      own.controllers
        .createController({ operation: 1, type: 3, itemId: 1n, purpose: 10, userId })
        .then(({ controller }) => controller!);
    const [a, other, empty, b] = [await create(7n), await create(8n), await create(7n), await create(7n)];
    await append(own, b.backupId, ['b1', 'b2']);
    await append(own, other.backupId, ['x']);
    await append(own, a.backupId, ['a1', 'a2', 'a3']);
    await append(own, newBackupId(), ['without a controller']);
    for (const pageSize of [1, 2, 3, 5, 100]) {
      const listed = async (request: object) => {
        const texts = [];
        for (let pageToken = ''; ; ) {
          const page = await own.logs.listLogs({ pageSize, ...request, pageToken });
          for (const { backupId, message } of page.entries) {
            assert.equal(backupId, message.startsWith('a') ? a.backupId : b.backupId);
            texts.push(message);
          }
          pageToken = page.nextPageToken;
          if (!pageToken) return texts;
        }
      };
      assert.deepEqual(await listed({ filter: { userId: 7n } }), ['a1', 'a2', 'a3', 'b1', 'b2']);
      assert.deepEqual(await listed({ filter: { userId: 7n }, order: LogOrder.NEWEST_FIRST }), [
        'b2',
        'b1',
        'a3',
        'a2',
        'a1',
      ]);
      assert.deepEqual(await listed({ filter: { userId: 7n }, text: '2' }), ['a2', 'b2']);
      assert.deepEqual(await listed({ filter: { userId: 9n } }), []);
    }
    assert.ok(empty.id < b.id);
  });

  it('gets through hundreds of runs without entries', async () => {
    await using own = await startBackend();
    await own.database.query(
      `insert into backup_controllers (backupid, type, itemid, format, interactive, purpose, userid, status, execution)
       select md5(i::text), 'course', 1, 'moodle2', 0, 10, 1, 100, 1 from generate_series(1, 230) i`,
    );
    const [last] = await own.database.query('select backupid from backup_controllers order by id desc limit 1');
    await append(own, last!['backupid'] as string, ['the only one']);
    const found = [];
    let calls = 0;
    for (let pageToken = ''; ; ) {
      const page = await own.logs.listLogs({ filter: {}, pageToken });
      found.push(...page.entries);
      pageToken = page.nextPageToken;
      calls++;
      if (!pageToken) break;
    }
    assert.deepEqual([found.length, calls], [1, 5]);
  });

  it('wants one backup or a filter, and not both', async () => {
    for (const request of [{}, { backupId: newBackupId(), filter: {} }]) {
      await refused(backend.logs.listLogs(request), { code: 'INVALID_ARGUMENT', reason: 'INVALID_FIELD' });
    }
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
