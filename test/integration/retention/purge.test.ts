import assert from 'node:assert/strict';
import { Purpose, Status } from '../../../src/gen/backup/v1/controller_pb.ts';
import { acceleratorsOff, type Backend, startBackend } from '../../support/backend.ts';
import { Subscriber } from '../../support/subscriber.ts';
import { contents, DAY, type Given, HOUR, left, put, rowsOf } from './rows.ts';

const olderThan = { seconds: BigInt(30 * DAY) };
const allStatuses = Object.values(Status).filter(status => typeof status === 'number' && status > 0) as Status[];

describe('ControllerService.PurgeControllers', () => {
  let backend: Backend;
  beforeEach(async () => {
    // Without polls, so that whoever tails learns of it by being rung for.
    backend = await startBackend({ replicas: 2, settings: acceleratorsOff ? {} : { TAIL_POLL: '1h' } });
  });
  afterEach(() => backend[Symbol.asyncDispose]());

  it('deletes what was not changed for so long, with everything that is theirs, and nothing of others', async () => {
    const old = await put(backend.database, { entries: 3 }, { status: 900, changedAgo: 31 * DAY }, { entries: 2 });
    const kept = await put(backend.database, { changedAgo: 29 * DAY, entries: 4 });
    const before = await rowsOf(backend.database, kept);
    await backend.database.query('insert into backup_removals (backupid, created_at) values ($1, 5)', [old[0]]);
    const answer = await backend.controllers.purgeControllers({ olderThan });
    assert.deepEqual([answer.controllers, answer.logEntries, answer.more], [3n, 5n, false]);
    assert.deepEqual(await left(backend.database), kept);
    assert.deepEqual(await rowsOf(backend.database, kept), before);
    const { backup_removals: removals, ...rest } = await rowsOf(backend.database, old);
    assert.equal(removals, 3);
    const stale = await backend.database.query('select 1 from backup_removals where created_at = 5');
    assert.deepEqual(stale, [], 'deleted before, created anew and deleted now');
    assert.deepEqual(new Set(Object.values(rest)), new Set([0]));
  });

  it('goes by the last change and by when a run was to start, not by age', async () => {
    const survivors: Given[] = [
      { createdAgo: 60 * DAY, changedAgo: HOUR },
      { startsIn: DAY, status: 700 },
      { startsIn: -29 * DAY, status: 700 },
      { status: 800, leased: true },
      // Another program has never written a time of change.
      { changedAgo: 50 * 365 * DAY, createdAgo: HOUR },
    ];
    const kept = await put(backend.database, ...survivors);
    await put(backend.database, { startsIn: -31 * DAY, status: 700 }, { status: 800 });
    const answer = await backend.controllers.purgeControllers({ olderThan, statuses: allStatuses });
    assert.equal(answer.controllers, 2n);
    assert.equal(answer.more, false);
    assert.deepEqual((await left(backend.database)).sort(), kept.sort());
  });

  it('means more than the age by a part of a second, too', async () => {
    const [id] = await put(backend.database, {});
    const change = 'update backup_controllers set created_at = 0, updated_at = floor(extract(epoch from now())) - 1001';
    const age = 'select 1 from backup_controllers where updated_at = floor(extract(epoch from now())) - 1001';
    const counted = async (nanos: number) => {
      // Again, if meanwhile it became a second older.
      for (;;) {
        await backend.database.query(change);
        const older = { seconds: 1000n, nanos };
        const { controllers } = await backend.controllers.purgeControllers({ olderThan: older, dryRun: true });
        if ((await backend.database.query(age)).length === 1) return controllers;
      }
    };
    assert.equal(await counted(0), 1n);
    assert.equal(await counted(1), 0n);
    assert.deepEqual(await left(backend.database), [id]);
  });

  it('takes finished ones only, unless it is told which statuses', async () => {
    const ids = await put(backend.database, ...allStatuses.map(status => ({ status })));
    const statuses = [Status.SETTING_UI, Status.CREATED, Status.SETTING_UI];
    const some = await backend.controllers.purgeControllers({ olderThan, statuses });
    assert.deepEqual(new Set(some.sampleBackupIds), new Set([ids[0], ids[4]]));
    assert.equal(some.controllers, 2n);
    const finished = await backend.controllers.purgeControllers({ olderThan });
    assert.deepEqual(new Set(finished.sampleBackupIds), new Set([ids[8], ids[9]]));
    assert.equal((await left(backend.database)).length, 6);
  });

  it('takes the purposes that it is told', async () => {
    const ids = await put(backend.database, { purpose: 10 }, { purpose: 50 }, { purpose: 777 }, { purpose: 70 });
    const purposes = [Purpose.AUTOMATED, 777 as Purpose];
    assert.equal((await backend.controllers.purgeControllers({ olderThan, purposes })).controllers, 2n);
    assert.deepEqual((await left(backend.database)).sort(), [ids[0], ids[3]].sort());
  });

  it('takes the longest unchanged first, no more than it may, and says whether there are more', async () => {
    const ages = [41, 45, 43, 44, 42, 46].map(days => ({ changedAgo: days * DAY, status: days === 43 ? 900 : 1000 }));
    const ids = await put(backend.database, ...ages);
    const request = { olderThan, maxControllers: 4 };
    const told = await backend.controllers.purgeControllers({ ...request, dryRun: true });
    const first = await backend.controllers.purgeControllers(request);
    assert.deepEqual(first.sampleBackupIds, [ids[5], ids[1], ids[3], ids[2]]);
    assert.deepEqual([first.controllers, first.more], [4n, true]);
    assert.deepEqual(told, first);
    const last = await backend.controllers.purgeControllers({ ...request, maxControllers: 2 });
    assert.deepEqual(last.sampleBackupIds, [ids[4], ids[0]]);
    assert.equal(last.more, false);
    const none = await backend.controllers.purgeControllers(request);
    assert.deepEqual([none.controllers, none.logEntries, none.more, none.sampleBackupIds], [0n, 0n, false, []]);
  });

  it('takes 1000 in a call that names no number, and shows ten of them', async () => {
    await put(backend.database, ...Array.from({ length: 1001 }, () => ({})));
    for (const dryRun of [true, false]) {
      const answer = await backend.controllers.purgeControllers({ olderThan, dryRun });
      assert.deepEqual([answer.controllers, answer.more, answer.sampleBackupIds.length], [1000n, true, 10]);
    }
    assert.equal((await left(backend.database)).length, 1);
  });

  it('changes nothing in a dry run, and says what it would do', async () => {
    const ids = await put(
      backend.database,
      { entries: 3 },
      { status: 800, leased: true },
      { entries: 20, status: 900 },
    );
    await put(backend.database, { changedAgo: HOUR, entries: 1 });
    const before = await contents(backend.database);
    const told = await backend.controllers.purgeControllers({ olderThan, dryRun: true });
    assert.deepEqual(await contents(backend.database), before);
    assert.deepEqual([told.controllers, told.logEntries, told.more], [2n, 23n, false]);
    assert.deepEqual(new Set(told.sampleBackupIds), new Set([ids[0], ids[2]]));
    assert.deepEqual(await backend.controllers.purgeControllers({ olderThan }), told);
  });

  it('ends the tails of what it deletes, on the other replica too', async () => {
    const [gone] = await put(backend.database, { entries: 3 });
    const [kept] = await put(backend.database, { entries: 3, changedAgo: HOUR });
    const tails = backend.replicas.map(replica => new Subscriber(replica, { backupIds: [gone!], follow: true }));
    await using other = new Subscriber(backend, { backupIds: [kept!], follow: true });
    for (const tail of [...tails, other]) await tail.told('caughtUp');
    await backend.controllers.purgeControllers({ olderThan });
    for (const tail of tails) {
      await tail.over();
      assert.equal(tail.history.end, 'DELETED');
    }
    assert.equal(other.history.end, undefined);
  });
});
