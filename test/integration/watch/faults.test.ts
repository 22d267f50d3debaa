import { strict as assert } from 'node:assert';
import { status } from '@grpc/grpc-js';
import { Status } from '../../../src/gen/backup/v1/controller_pb.ts';
import { acceleratorsOff, startBackend, startReplica } from '../../support/backend.ts';
import { administer } from '../../support/database.ts';
import { refused } from '../../support/status.ts';
import { newBackup, newBackupId } from '../../support/writing.ts';
import { backup, newNumber } from '../controller/requests.ts';
import { Picture, same } from './picture.ts';

describe('WatchControllers when something breaks or ends', () => {
  it('tells within the poll interval what nobody rang for, other programs and deletions included', async () => {
    await using backend = await startBackend({ settings: { TAIL_POLL: '100ms' } });
    await using mute = await startReplica(backend.database.url, { NOTIFY: 'off' });
    const userId = newNumber();
    const create = async () => (await mute.controllers.createController(backup({ userId }))).controller!.backupId;
    const [foreign, gone, later] = [await create(), await create(), newBackupId()];
    await using byIds = new Picture(backend, { backupIds: [foreign, gone, later] });
    await using byFilter = new Picture(backend, { filter: { userId } });
    for (const picture of [byIds, byFilter]) await picture.complete();
    // Only what Moodle itself would write.
    await backend.database.query('update backup_controllers set status = 300 where backupid = $1', [foreign]);
    await mute.controllers.deleteController({ backupId: gone });
    await mute.controllers.createController(backup({ userId, backupId: later }));
    for (const picture of [byIds, byFilter]) {
      await picture.until(({ controllers }) => controllers.has(later) && !controllers.has(gone), 2000);
      await picture.until(({ controllers }) => controllers.get(foreign)?.status === Status.PLANNED, 2000);
      same(picture, (await mute.controllers.listControllers({ filter: { userId } })).controllers);
    }
  });

  if (!acceleratorsOff) {
    it('tells long before the poll interval what was rung for', async () => {
      await using backend = await startBackend({ replicas: 2, settings: { TAIL_POLL: '10m' } });
      const [near, far] = backend.replicas;
      const backupId = await newBackup(far!);
      await using byId = new Picture(near!, { backupIds: [backupId] });
      await using byFilter = new Picture(near!, {});
      for (const picture of [byId, byFilter]) await picture.complete();
      for (let i = 1; i <= 10; i++) {
        const controller = { progress: i / 10 };
        await far!.controllers.updateController({ backupId, controller, updateMask: { paths: ['progress'] } });
        for (const picture of [byId, byFilter]) {
          await picture.until(({ controllers }) => controllers.get(backupId)?.progress === i / 10, 5000);
        }
      }
    });

    it('looks again when the listening connection comes back, for what may have been rung meanwhile', async () => {
      await using backend = await startBackend({ settings: { TAIL_POLL: '10m' } });
      // It never rings, as if all of its rings fell into the gap.
      await using mute = await startReplica(backend.database.url, { NOTIFY: 'off' });
      const backupId = await newBackup(mute);
      await using byId = new Picture(backend, { backupIds: [backupId] });
      await using byFilter = new Picture(backend, {});
      for (const picture of [byId, byFilter]) await picture.complete();
      await mute.controllers.transitionController({ backupId, from: 100, to: 300 });
      const other = await newBackup(mute);
      const database = new URL(backend.database.url).pathname.slice(1);
      await backend.database.query(
        `select pg_terminate_backend(pid) from pg_stat_activity where datname = '${database}' and application_name like '%doorbell'`,
      );
      await byId.until(({ controllers }) => controllers.get(backupId)?.status === Status.PLANNED);
      await byFilter.until(({ controllers }) => controllers.get(backupId)?.status === 300 && controllers.has(other));
    });
  }

  it('rides out a database that is away for a moment, and gives up on one that stays away', async () => {
    await using backend = await startBackend({
      settings: { TAIL_POLL: '50ms', TAIL_OUTAGE: '5s' },
    });
    const name = new URL(backend.database.url).pathname.slice(1);
    const away = async () => {
      await administer(`alter database ${name} allow_connections false`);
      await administer(`select pg_terminate_backend(pid) from pg_stat_activity where datname = '${name}'`);
    };
    const back = () => administer(`alter database ${name} allow_connections true`);
    const backupId = await newBackup(backend);
    await using picture = new Picture(backend, { backupIds: [backupId] });
    await picture.complete();
    await away();
    // Begun while the database is away, it waits, too.
    await using waiting = new Picture(backend, {});
    await assert.rejects(backend.controllers.getController({ backupId }), { code: status.UNAVAILABLE });
    await back();
    await waiting.complete();
    await backend.controllers.transitionController({ backupId, from: 100, to: 300 });
    for (const watcher of [picture, waiting]) {
      await watcher.until(({ controllers }) => controllers.get(backupId)?.status === Status.PLANNED);
      assert.equal(watcher.messages.filter(message => message.reset).length, 1);
    }
    await away();
    for (const watcher of [picture, waiting]) {
      await refused(watcher.over(), { code: 'UNAVAILABLE', reason: 'DATABASE_UNAVAILABLE' });
    }
    await back();
    assert.deepEqual(backend.app.watches.size, { views: 0, watchers: 0 });
    picture.resume(backend);
    await backend.controllers.transitionController({ backupId, from: 300, to: 400 });
    await picture.until(({ controllers }) => controllers.get(backupId)?.status === Status.CONFIGURED);
  });

  it('ends by age, with a token before it that continues', async () => {
    await using backend = await startBackend({ settings: { TAIL_MAX_AGE: '200ms' } });
    const backupId = await newBackup(backend);
    const picture = new Picture(backend, { backupIds: [backupId] });
    for (const [from, to] of [
      [100, 300],
      [300, 400],
      [400, 700],
    ] as const) {
      await picture.over();
      assert.equal(picture.end, 'MAX_AGE');
      await backend.controllers.transitionController({ backupId, from, to });
      picture.resume(backend);
    }
    await picture.until(({ controllers }) => controllers.get(backupId)?.status === Status.AWAITING);
    assert.equal(picture.messages.filter(message => message.reset).length, 1);
    await picture.cancel();
  });

  it('says that the replica shuts down, closes with UNAVAILABLE, and continues on another', async () => {
    await using backend = await startBackend({ replicas: 2 });
    const [near, far] = backend.replicas;
    const backupId = await newBackup(far!);
    await using picture = new Picture(near!, { backupIds: [backupId] });
    await picture.complete();
    await near![Symbol.asyncDispose]();
    await refused(picture.over(), { code: 'UNAVAILABLE', reason: 'DRAINING' });
    assert.equal(picture.end, 'DRAINING');
    await far!.controllers.transitionController({ backupId, from: 100, to: 300 });
    picture.resume(far!);
    await picture.until(({ controllers }) => controllers.get(backupId)?.status === Status.PLANNED);
    assert.equal(picture.messages.filter(message => message.reset).length, 1);
  });
});
