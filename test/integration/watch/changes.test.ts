import { strict as assert } from 'node:assert';
import { Purpose, Status } from '../../../src/gen/backup/v1/controller_pb.ts';
import { acceleratorsOff, type Backend, startBackend, startReplica } from '../../support/backend.ts';
import { eventually } from '../../support/eventually.ts';
import { refused } from '../../support/status.ts';
import { finish, newBackup, newBackupId } from '../../support/writing.ts';
import { backup, newNumber } from '../controller/requests.ts';
import { Picture, same } from './picture.ts';

describe('WatchControllers', () => {
  let backend: Backend;
  before(async () => {
    backend = await startBackend({ replicas: 2 });
  });
  after(() => backend[Symbol.asyncDispose]());

  const near = () => backend.replicas[0]!;
  const far = () => backend.replicas[1]!;
  const create = async (more = {}) => (await far().controllers.createController(backup(more))).controller!;
  const truth = async (backupIds: string[]) => (await far().controllers.batchGetControllers({ backupIds })).controllers;

  it('tells what there is, complete with a token, and then what another replica changes', async () => {
    const ids = [await newBackup(far()), await newBackup(far()), await newBackup(far())];
    await using picture = new Picture(near(), { backupIds: ids });
    await picture.complete();
    assert.equal(picture.messages.length, 1);
    assert.equal(picture.messages[0]!.reset, true);
    same(picture, await truth(ids));
    await far().controllers.transitionController({ backupId: ids[1]!, from: 100, to: 300 });
    await picture.until(({ controllers }) => controllers.get(ids[1]!)?.status === Status.PLANNED);
    same(picture, await truth(ids));
    const changes = picture.since(1).filter(message => message.controllers.length > 0);
    assert.deepEqual(
      changes.map(message => [message.reset, message.controllers.length, message.resumeToken !== '']),
      [[false, 1, true]],
    );
  });

  it('tells progress', async () => {
    const backupId = await newBackup(far());
    await using picture = new Picture(near(), { backupIds: [backupId] });
    await picture.complete();
    for (const progress of [0.25, 0.5, 0.12345678901234]) {
      await far().controllers.updateController({
        backupId,
        controller: { progress },
        updateMask: { paths: ['progress'] },
      });
      await picture.until(({ controllers }) => controllers.get(backupId)?.progress === progress);
    }
  });

  it('tells of controllers that come to match a filter and of those that no longer do', async () => {
    const userId = newNumber();
    const [stays, leaves] = [await create({ userId }), await create({ userId })];
    const other = await create({ userId, purpose: Purpose.IMPORT });
    const filter = { userId, statuses: [Status.CREATED, Status.PLANNED], purposes: [Purpose.GENERAL] };
    await using picture = new Picture(near(), { filter });
    await picture.complete();
    const listed = async () => (await far().controllers.listControllers({ filter })).controllers;
    same(picture, await listed());
    assert.deepEqual([...picture.controllers.keys()].sort(), [stays.backupId, leaves.backupId].sort());

    await far().controllers.transitionController({ backupId: leaves.backupId, from: 100, to: 900 });
    await picture.until(({ controllers }) => !controllers.has(leaves.backupId));
    assert.ok(picture.messages.some(message => message.removedBackupIds.includes(leaves.backupId)));
    await far().controllers.updateController({
      backupId: other.backupId,
      controller: { purpose: Purpose.GENERAL },
      updateMask: { paths: ['purpose'] },
    });
    const late = await create({ userId });
    await create();
    await picture.until(({ controllers }) => controllers.size === 3);
    same(picture, await listed());
    assert.ok(picture.controllers.has(late.backupId) && picture.controllers.has(other.backupId));
  });

  it('tells of all controllers when neither ids nor a filter are given', async () => {
    await using own = await startBackend();
    await newBackup(own);
    await using picture = new Picture(own, {});
    await picture.complete();
    await newBackup(own);
    await picture.until(({ controllers }) => controllers.size === 2);
    same(picture, (await own.controllers.listControllers({})).controllers);
  });

  it('tells of a deletion, by ids as by a filter', async () => {
    const userId = newNumber();
    const { backupId } = await create({ userId });
    await using byId = new Picture(near(), { backupIds: [backupId] });
    await using byFilter = new Picture(near(), { filter: { userId } });
    for (const picture of [byId, byFilter]) await picture.complete();
    await far().controllers.deleteController({ backupId });
    for (const picture of [byId, byFilter]) {
      await picture.until(({ controllers }) => controllers.size === 0);
      assert.deepEqual(
        picture.messages.flatMap(message => message.removedBackupIds),
        [backupId],
      );
    }
  });

  it('waits for ids that have no controller yet, and knows one that was deleted and created anew from the first', async () => {
    const backupId = newBackupId();
    await using picture = new Picture(near(), { backupIds: [backupId] });
    await picture.complete();
    assert.deepEqual([picture.messages[0]!.reset, picture.controllers.size], [true, 0]);
    await newBackup(far(), backupId);
    await picture.until(({ controllers }) => controllers.has(backupId));
    await far().controllers.deleteController({ backupId });
    await newBackup(far(), backupId);
    const [anew] = await truth([backupId]);
    await picture.until(({ controllers }) => controllers.get(backupId)?.id === anew!.id);
    // As it looks to who did not see it gone: all the same but the number of the row.
    await backend.database.query('update backup_controllers set id = id + 1000000 where backupid = $1', [backupId]);
    near().app.doorbell.ring(`+${backupId}`);
    await picture.until(({ controllers }) => controllers.get(backupId)?.id === anew!.id + 1_000_000n);
  });

  it('tells nothing twice, and of a renewed lease nothing at all', async () => {
    const backupId = await newBackup(far());
    await using picture = new Picture(near(), { backupIds: [backupId] });
    await picture.complete();
    await backend.database.query('update backup_controllers set leaseexpires = leaseexpires + 1 where backupid = $1', [
      backupId,
    ]);
    for (let i = 0; i < 20; i++) near().app.doorbell.ring(`+${backupId}`);
    await far().controllers.transitionController({ backupId, from: 100, to: 300 });
    await picture.until(({ controllers }) => controllers.get(backupId)?.status === Status.PLANNED);
    assert.deepEqual(
      picture.told(backupId).map(c => c.status),
      [Status.CREATED, Status.PLANNED],
    );
  });

  it('begins with all that was committed before it, whatever its replica has heard of', async () => {
    // Nobody rings and nobody polls: what is known here is as old as the first watcher.
    await using deaf = await startReplica(backend.database.url, { NOTIFY: 'off', TAIL_POLL: '10m' });
    const backupId = newBackupId();
    await using first = new Picture(deaf, { backupIds: [backupId] });
    await first.complete();
    for (let i = 0; i < 5; i++) {
      await newBackup(far(), backupId);
      await using later = new Picture(deaf, { backupIds: [backupId] });
      await later.complete();
      same(later, await truth([backupId]));
      assert.equal(later.controllers.size, 1);
      await far().controllers.deleteController({ backupId });
      await using last = new Picture(deaf, { backupIds: [backupId] });
      await last.complete();
      assert.equal(last.controllers.size, 0);
    }
  });

  it('tells a first state of thousands in messages of 200, with a token on the last', async () => {
    const userId = newNumber();
    await insert(userId, 1050);
    await using picture = new Picture(near(), { filter: { userId } });
    await picture.complete();
    assert.deepEqual(
      picture.messages.map(message => [message.reset, message.controllers.length, message.resumeToken !== '']),
      [[true, 200, false], ...Array(4).fill([false, 200, false]), [false, 50, true]],
    );
  });

  it('refuses a filter that 10,001 match, and ends a watch that grows to so many', async () => {
    await using replica = await startReplica(backend.database.url, acceleratorsOff ? {} : { TAIL_POLL: '10m' });
    const userId = newNumber();
    await insert(userId, 10_000);
    await using picture = new Picture(replica, { filter: { userId } });
    await picture.until(({ controllers, token }) => token !== '' && controllers.size === 10_000);
    await using smaller = new Picture(replica, { filter: { userId, statuses: [Status.PLANNED] } });
    await smaller.complete();
    const { backupId } = await create({ userId });
    await refused(picture.over(), { code: 'FAILED_PRECONDITION', reason: 'WATCH_TOO_LARGE' });
    const late = new Picture(replica, { filter: { userId } });
    await refused(late.over(), { code: 'FAILED_PRECONDITION', reason: 'WATCH_TOO_LARGE' });
    assert.equal(late.messages.length, 0);
    await far().controllers.transitionController({ backupId, from: 100, to: 300 });
    await smaller.until(({ controllers }) => controllers.size === 1);
  });

  it('heartbeats while nothing changes, with a token', async () => {
    await using quick = await startReplica(backend.database.url, { TAIL_HEARTBEAT: '20ms' });
    const backupId = await newBackup(far());
    await using picture = new Picture(quick, { backupIds: [backupId] });
    await picture.until(({ messages }) => messages.length > 3);
    for (const message of picture.since(1)) {
      assert.deepEqual([message.controllers.length, message.resumeToken !== ''], [0, true]);
    }
  });

  it('ends when each of its ids has finished or was deleted, with the last states told', async () => {
    const [good, bad, gone, unborn] = [
      await newBackup(far()),
      await newBackup(far()),
      await newBackup(far()),
      newBackupId(),
    ];
    const request = { backupIds: [good, bad, gone, unborn], untilFinished: true };
    const picture = new Picture(near(), request);
    await picture.complete();
    await finish(far(), good);
    await far().controllers.transitionController({ backupId: bad, from: 100, to: 900 });
    await far().controllers.deleteController({ backupId: gone });
    await picture.until(({ controllers }) => !controllers.has(gone) && controllers.get(good)?.status === 1000);
    assert.equal(picture.end, undefined);
    await newBackup(far(), unborn);
    await finish(far(), unborn);
    await picture.over();
    assert.equal(picture.end, 'FINISHED');
    same(picture, await truth([good, bad, unborn]));
    assert.deepEqual([...picture.controllers.values()].map(c => c.status).sort(), [1000, 1000, 900]);
    const again = new Picture(far(), request);
    await again.over();
    assert.equal(again.end, 'FINISHED');
    assert.deepEqual(again.messages[0]!.removedBackupIds, [gone]);
  });

  it('reads a change once, however many watch it', async () => {
    if (acceleratorsOff) return;
    // With the longest poll, nothing is read but what was rung for.
    await using quiet = await startReplica(backend.database.url, { TAIL_POLL: '10m' });
    const ids = await Promise.all(Array.from({ length: 20 }, () => newBackup(far())));
    const change = async (from: Status, to: Status) => {
      const before = quiet.app.watches.reads;
      for (const backupId of ids) await far().controllers.transitionController({ backupId, from, to });
      return () => quiet.app.watches.reads - before;
    };
    const pictures = Array.from({ length: 50 }, () => new Picture(quiet, { backupIds: ids }));
    for (const picture of pictures) await picture.until(({ controllers }) => controllers.size === 20);
    const reads = await change(Status.CREATED, Status.PLANNED);
    for (const picture of pictures) {
      await picture.until(({ controllers }) => [...controllers.values()].every(c => c.status === 300));
    }
    assert.ok(reads() <= 20, `${reads()} reads for 20 changes and 50 watchers`);
    assert.deepEqual(quiet.app.watches.size, { views: 1, watchers: 50 });
    for (const picture of pictures) await picture.cancel();
  });

  it('leaves nothing behind of watchers that are gone', async () => {
    const replica = near();
    const subscribers = replica.app.doorbell.subscribers;
    await eventually(() => assert.deepEqual(replica.app.watches.size, { views: 0, watchers: 0 }));
    const pictures = [
      ...Array.from({ length: 10 }, () => new Picture(replica, { backupIds: [newBackupId()] })),
      ...Array.from({ length: 10 }, (_, i) => new Picture(replica, { filter: { userId: BigInt(i) } })),
      // The same in other words.
      new Picture(replica, { filter: { purposes: [50, 70, 50] } }),
      new Picture(replica, { filter: { purposes: [70, 50] } }),
    ];
    for (const picture of pictures) await picture.complete();
    assert.deepEqual(replica.app.watches.size, { views: 21, watchers: 22 });
    for (const picture of pictures) await picture.cancel();
    await eventually(() => {
      assert.deepEqual(replica.app.watches.size, { views: 0, watchers: 0 });
      assert.equal(replica.app.admission.streams, 0);
      assert.equal(replica.app.doorbell.subscribers, subscribers);
    });
  });

  async function insert(userId: bigint, count: number): Promise<void> {
    await backend.database.query(
      `insert into backup_controllers (backupid, type, itemid, format, interactive, purpose, userid, status, execution)
       select md5($1::bigint::text || i), 'course', 1, 'moodle2', 0, 10, $1::bigint, 100, 1 from generate_series(1, $2::int) i`,
      [userId, count],
    );
  }
});
