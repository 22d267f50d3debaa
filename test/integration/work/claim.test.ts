import { strict as assert } from 'node:assert';
import { randomUUID } from 'node:crypto';
import { Operation, type Purpose, Status, Type } from '../../../src/gen/backup/v1/controller_pb.ts';
import { type Backend, startBackend } from '../../support/backend.ts';
import { refused } from '../../support/status.ts';
import { type Asked, claimed, claimedAgain, get, now, queued, type Wanted } from './work.ts';

describe('ControllerService.ClaimControllers', () => {
  let backend: Backend;
  before(async () => {
    backend = await startBackend({ replicas: 2 });
  });
  beforeEach(() => backend.database.query('delete from backup_controllers'));
  after(() => backend[Symbol.asyncDispose]());

  const idsOf = async (more: Asked) => (await claimed(backend, more)).map(({ controller }) => controller!.backupId);
  const set = (backupId: string, columns: string) =>
    backend.database.query(`update backup_controllers set ${columns} where backupid = $1`, [backupId]);

  it('gives only what is AWAITING, delayed and due', async () => {
    await backend.database.query(
      `insert into backup_controllers (backupid, type, itemid, format, interactive, purpose, userid, status, execution, executiontime)
       select md5(random()::text), 'course', 1, 'moodle2', 0, 70, 1, status, execution, time
       from unnest(array[100, 200, 300, 400, 500, 600, 700, 800, 900, 1000]) as status, unnest(array[1, 2]) as execution,
            unnest(array[0, 1, 4000000000]) as time`,
    );
    const rows = await backend.database.query(
      'select backupid from backup_controllers where status = 700 and execution = 2 and executiontime < 2 order by id',
    );
    const due = rows.map(row => row['backupid']);
    assert.equal(due.length, 2);
    assert.deepEqual(await idsOf({ maxControllers: 1000 }), due);
    assert.deepEqual(await idsOf({ maxControllers: 1000 }), []);
  });

  it('gives the longest due first: since its execution time, or since its creation when that is later', async () => {
    const times = { a: [1000, 0], b: [500, 2000], c: [1500, 100], d: [1500, 0], e: [100, 4_000_000_000], f: [3000, 0] };
    const names = new Map<string, string>();
    for (const [name, [created, execution]] of Object.entries(times)) {
      const { backupId } = await queued(backend);
      await set(backupId, `created_at = ${created}, executiontime = ${execution}`);
      names.set(backupId, name);
    }
    const order = [await idsOf({ maxControllers: 2 }), await idsOf({}), await idsOf({ maxControllers: 1000 })];
    assert.deepEqual(
      order.map(ids => ids.map(id => names.get(id)).join('')),
      ['ac', 'd', 'bf'],
    );
  });

  it('gives as many as are asked for, one when nothing is said', async () => {
    for (let i = 0; i < 6; i++) await queued(backend);
    assert.deepEqual(
      [await idsOf({}), await idsOf({ maxControllers: 3 }), await idsOf({ maxControllers: 1000 })].map(
        ids => ids.length,
      ),
      [1, 3, 2],
    );
  });

  it('gives what the filter matches, each condition and all of them together', async () => {
    const plain: Wanted = { operation: 1, type: 3, purpose: 70, format: 'moodle2' };
    const runs = {
      plain: await queued(backend, plain),
      restore: await queued(backend, { ...plain, operation: Operation.RESTORE }),
      section: await queued(backend, { ...plain, type: Type.SECTION }),
      other: await queued(backend, { ...plain, purpose: 999 as Purpose }),
      format: await queued(backend, { ...plain, format: 'imscc1' }),
    };
    const finds = async (filter: Asked['filter'], expected: (keyof typeof runs)[]) => {
      assert.deepEqual(
        await idsOf({ filter, maxControllers: 1000 }),
        expected.map(name => runs[name].backupId),
      );
      await backend.database.query('update backup_controllers set status = 700, leasetoken = null');
    };
    await finds({ operation: Operation.RESTORE }, ['restore']);
    await finds({ operation: Operation.BACKUP }, ['plain', 'section', 'other', 'format']);
    await finds({ type: Type.SECTION }, ['section']);
    await finds({ type: Type.ACTIVITY }, []);
    await finds({ purposes: [999 as Purpose, 50] }, ['other']);
    await finds({ purposes: [999 as Purpose, 70] }, ['plain', 'restore', 'section', 'other', 'format']);
    await finds({ format: 'imscc1' }, ['format']);
    await finds({ operation: 1, type: 3, purposes: [70], format: 'moodle2' }, ['plain']);
    await finds({ operation: 2, type: 2 }, []);
    await finds({}, ['plain', 'restore', 'section', 'other', 'format']);
  });

  it("makes a run EXECUTING, with a lease by the database's clock that lasts as long as is asked for", async () => {
    for (const [asked, seconds] of [
      [{}, 600], // the LEASE_DURATION of tests
      [{ leaseDuration: { seconds: 1n } }, 1],
      [{ leaseDuration: { seconds: 86_400n } }, 86_400],
      [{ leaseDuration: { seconds: 2n, nanos: 500_000_000 } }, 2.5],
    ] as const) {
      const { backupId } = await queued(backend);
      await set(backupId, 'progress = 0.5, created_at = 1000, updated_at = 1000');
      const before = await get(backend, backupId);
      const start = await now(backend.database);
      const [one] = await claimed(backend, { worker: 'ä worker', ...asked });
      const end = await now(backend.database);
      const { controller } = one!;
      const { status, attempt, progress, lease, etag, updateTime, startTime, ...same } = controller!;
      assert.deepEqual([status, attempt, progress, lease!.worker], [Status.EXECUTING, 1, 0, 'ä worker']);
      const [acquired, expires] = [lease!.acquireTime!, lease!.expireTime!].map(
        time => Number(time.seconds) + time.nanos / 1e9,
      );
      assert.ok(acquired! >= start - 0.001 && acquired! <= end, `${acquired} from ${start} to ${end}`);
      assert.equal((expires! - acquired!).toFixed(3), seconds.toFixed(3));
      assert.deepEqual([startTime!.seconds, updateTime!.seconds], [lease!.acquireTime!.seconds, startTime!.seconds]);
      assert.notEqual(etag, before.etag);
      assert.deepEqual(before, {
        ...same,
        status: Status.AWAITING,
        attempt: 0,
        progress: 0.5,
        etag: before.etag,
        updateTime: before.updateTime,
      });
      assert.deepEqual(await get(backend, backupId), controller);
    }
  });

  it('never sets the time of the change back', async () => {
    const { backupId } = await queued(backend);
    await set(backupId, 'updated_at = 4000000000');
    await claimed(backend);
    assert.equal((await get(backend, backupId)).updateTime!.seconds, 4_000_000_000n);
  });

  it('counts the attempts, and gives each a token of its own', async () => {
    const { backupId } = await queued(backend, { maxAttempts: 3 });
    const tokens = new Set<string>();
    for (let attempt = 1; attempt <= 3; attempt++) {
      const { leaseToken } = await claimedAgain(backend, backupId);
      tokens.add(leaseToken);
      const run = await get(backend, backupId);
      assert.deepEqual([run.attempt, run.lostAttempts], [attempt, 0]);
      await backend.controllers.releaseController({ backupId, leaseToken });
    }
    assert.equal(tokens.size, 3);
  });

  it('gives the same leases again for a request id, also when it comes many times at once', async () => {
    for (let i = 0; i < 12; i++) await queued(backend);
    const request = { worker: 'w', maxControllers: 5, requestId: randomUUID() };
    const answers = await Promise.all(
      Array.from({ length: 20 }, (_, i) => backend.replicas[i % 2]!.controllers.claimControllers(request)),
    );
    const { backupId } = answers[0]!.claimed[0]!.controller!;
    await backend.controllers.deleteController({ backupId, force: true });
    answers.push(await backend.controllers.claimControllers(request));
    assert.equal(answers[0]!.claimed.length, 5);
    for (const answer of answers) assert.deepEqual(answer, answers[0]);
    assert.equal((await idsOf({ maxControllers: 1000 })).length, 7);
    const other = backend.controllers.claimControllers({ ...request, maxControllers: 6 });
    await refused(other, { code: 'INVALID_ARGUMENT', reason: 'REQUEST_ID_REUSED' });
  });

  it('does not remember for a request id that there was nothing', async () => {
    const request = { requestId: randomUUID() };
    assert.deepEqual(await claimed(backend, request), []);
    const { backupId } = await queued(backend);
    const { leaseToken } = await claimedAgain(backend, backupId, request);
    assert.deepEqual(await claimedAgain(backend, backupId, request), { backupId, leaseToken });
  });
});
