import assert from 'node:assert/strict';
import type { MessageInitShape } from '@bufbuild/protobuf';
import { ControllerOrder, type ListControllersRequestSchema } from '../../../src/gen/backup/v1/controller_pb.ts';
import { type Backend, startBackend } from '../../support/backend.ts';
import { refused } from '../../support/status.ts';
import { backup, newNumber } from './requests.ts';

const INVALID = { code: 'INVALID_ARGUMENT', reason: 'PAGE_TOKEN_INVALID' } as const;

describe('The pages of ControllerService.ListControllers', () => {
  let backend: Backend;
  before(async () => {
    backend = await startBackend({ replicas: 2 });
  });
  after(() => backend[Symbol.asyncDispose]());

  const list = (request: MessageInitShape<typeof ListControllersRequestSchema>) =>
    backend.controllers.listControllers(request);

  for (const [name, order] of [
    ['oldest first', ControllerOrder.OLDEST_FIRST],
    ['newest first', ControllerOrder.NEWEST_FIRST],
  ] as const) {
    for (const pageSize of [1, 7, 100, 1000]) {
      it(`of ${pageSize} hold every row exactly once while others come and go, ${name}`, async () => {
        const userId = newNumber();
        const there = await rows(userId, 250);
        const disturbing = disturb(userId);
        const seen = await collect({ filter: { userId }, order, pageSize });
        await disturbing;
        const mine = seen.filter(({ backupId }) => there.has(backupId));
        assert.equal(new Set(seen.map(({ backupId }) => backupId)).size, seen.length, 'a row came twice');
        assert.equal(mine.length, 250, 'a row is missing');
        const keys = mine.map(({ createTime, id }) => Number(createTime!.seconds) * 1e6 + Number(id));
        const sorted = keys.toSorted((a, b) => (order === ControllerOrder.OLDEST_FIRST ? a - b : b - a));
        assert.deepEqual(keys, sorted);
      });
    }
  }

  it('are as large as asked for, 100 by default, and the last one says so', async () => {
    const userId = newNumber();
    await rows(userId, 101);
    const first = await list({ filter: { userId } });
    assert.equal(first.controllers.length, 100);
    const last = await list({ filter: { userId }, pageToken: first.nextPageToken });
    assert.deepEqual([last.controllers.length, last.nextPageToken], [1, '']);
    const exact = await list({ filter: { userId }, pageSize: 101 });
    assert.deepEqual([exact.controllers.length, exact.nextPageToken], [101, '']);
    const none = await list({ filter: { userId: userId + 1n } });
    assert.deepEqual([none.controllers.length, none.nextPageToken], [0, '']);
  });

  it('may change their size on the way, and their replica', async () => {
    const filter = { userId: newNumber() };
    await rows(filter.userId, 10);
    const { nextPageToken: pageToken, controllers } = await list({ filter, pageSize: 3 });
    const rest = await backend.replicas[1]!.controllers.listControllers({ filter, pageSize: 1000, pageToken });
    assert.equal(new Set([...controllers, ...rest.controllers].map(({ id }) => id)).size, 10);
  });

  it('go on where they were when the last row seen is gone', async () => {
    const filter = { userId: newNumber() };
    await rows(filter.userId, 4);
    const { nextPageToken: pageToken, controllers } = await list({ filter, pageSize: 2 });
    for (const { backupId } of controllers) await backend.controllers.deleteController({ backupId });
    assert.equal((await list({ filter, pageToken })).controllers.length, 2);
  });

  it('refuse a token of other arguments, of another list, or made up', async () => {
    const filter = { userId: newNumber() };
    await rows(filter.userId, 3);
    const { nextPageToken: pageToken } = await list({ filter, pageSize: 1 });
    await refused(list({ filter, order: ControllerOrder.OLDEST_FIRST, pageToken }), INVALID);
    await refused(list({ filter: { ...filter, itemId: 0n }, pageToken }), INVALID);
    await refused(list({ pageToken }), INVALID);
    await refused(list({ filter, pageToken: `${pageToken}x` }), INVALID);
    await refused(list({ filter, pageToken: 'made up' }), INVALID);
    await refused(backend.courses.listCourses({ pageToken }), INVALID);
    await refused(backend.logs.listLogs({ backupId: 'a'.repeat(32), pageToken }), INVALID);
  });

  it('are no empty promise: a page size out of range is refused', async () => {
    for (const pageSize of [-1, 1001]) {
      await refused(list({ pageSize }), { code: 'INVALID_ARGUMENT', reason: 'INVALID_FIELD', field: 'page_size' });
    }
  });

  /** Rows of a user, several of them in the same second. */
  async function rows(userId: bigint, count: number): Promise<Set<string>> {
    const made = await backend.database.query(
      `insert into backup_controllers (backupid, type, itemid, format, interactive, purpose, userid, status, execution, created_at)
       select md5(random()::text), 'course', 0, 'moodle2', 0, 10, $1, 100, 1, 1000 + n / 9 from generate_series(1, $2::int) n
       returning backupid`,
      [userId, count],
    );
    return new Set(made.map(row => row['backupid'] as string));
  }

  /** Creates and deletes other rows of the same user for a while. */
  async function disturb(userId: bigint): Promise<void> {
    const created: string[] = [];
    for (let i = 0; i < 40; i++) {
      const { controller } = await backend.controllers.createController(backup({ userId }));
      created.push(controller!.backupId);
      if (i % 3 !== 0) await backend.controllers.deleteController({ backupId: created.shift()! });
    }
  }

  async function collect(request: MessageInitShape<typeof ListControllersRequestSchema>) {
    const seen = [];
    for (let pageToken = ''; ; ) {
      const page = await list({ ...request, pageToken });
      assert.ok(page.controllers.length <= request.pageSize!);
      seen.push(...page.controllers);
      pageToken = page.nextPageToken;
      if (!pageToken) return seen;
    }
  }
});
