import { strict as assert } from 'node:assert';
import { LogLevel } from '../../../src/gen/backup/v1/entry_pb.ts';
import { acceleratorsOff, type Backend, startBackend } from '../../support/backend.ts';
import { eventually } from '../../support/eventually.ts';
import { refused } from '../../support/status.ts';
import { Subscriber } from '../../support/subscriber.ts';
import { append, fill, finish, newBackup, newBackupId, truthOf, writeAll } from '../../support/writing.ts';

describe('Tails of one log on one replica', () => {
  let backend: Backend;
  before(async () => {
    const settings = { TAIL_HEARTBEAT: '10m', ...(!acceleratorsOff && { TAIL_POLL: '10m' }) };
    backend = await startBackend({ replicas: 2, settings });
  });
  after(() => backend[Symbol.asyncDispose]());

  const far = () => backend.replicas[1]!;

  async function follow(backupId: string, count: number, replica = far()): Promise<Subscriber[]> {
    const request = { backupIds: [backupId], follow: true };
    const subscribers = Array.from({ length: count }, () => new Subscriber(replica, request));
    for (const subscriber of subscribers) await subscriber.told('caughtUp');
    return subscribers;
  }

  if (!acceleratorsOff) {
    it('share the reads of what another replica appends, however many they are', async () => {
      const looks = async (count: number) => {
        const backupId = newBackupId();
        const subscribers = await follow(backupId, count);
        const before = far().app.tails.looks;
        for (let i = 1; i <= 20; i++) {
          await append(backend, backupId, [`${i}`]);
          for (const subscriber of subscribers) await subscriber.received(i);
        }
        for (const subscriber of subscribers) {
          await subscriber.cancel();
          subscriber.history.complete(await truthOf(backend.database, [backupId]));
        }
        return far().app.tails.looks - before;
      };
      const [one, many] = [await looks(1), await looks(50)];
      assert.ok(one >= 20 && many <= one + 5, `${one} looks for one, ${many} for fifty`);
    });

    it('get what their own replica appends without a read', async () => {
      const backupId = newBackupId();
      const subscribers = await follow(backupId, 10, backend);
      // The first one may have made a connection, and is looked for.
      await append(backend, backupId, ['first']);
      for (const subscriber of subscribers) await subscriber.received(1);
      const before = backend.app.tails.looks;
      for (let i = 2; i <= 30; i++) await append(backend, backupId, [`${i}`]);
      for (const subscriber of subscribers) {
        await subscriber.received(30);
        await subscriber.cancel();
        subscriber.history.complete(await truthOf(backend.database, [backupId]));
      }
      assert.ok(backend.app.tails.looks - before <= 2, `${backend.app.tails.looks - before} looks`);
    });
  }

  it('get what is appended here and elsewhere once and in order, with every filter', async () => {
    const backupId = newBackupId();
    const subscribers = backend.replicas.flatMap(replica =>
      [LogLevel.DEBUG, LogLevel.INFO, LogLevel.WARNING].map(
        maxLevel => new Subscriber(replica, { backupIds: [backupId], follow: true, maxLevel }),
      ),
    );
    await Promise.all(
      Array.from({ length: 12 }, async (_, i) => {
        for (let k = 0; k < 25; k++) {
          const level = [LogLevel.DEBUG, LogLevel.INFO, LogLevel.WARNING][(i + k) % 3]!;
          await append(backend.replicas[i % 2]!, backupId, Array(1 + (k % 7)).fill(`${i} ${k}`), level);
        }
      }),
    );
    const truth = await truthOf(backend.database, [backupId]);
    for (const subscriber of subscribers) {
      const { maxLevel } = subscriber.request;
      await subscriber.received(truth.filter(row => (row.loglevel as number) <= maxLevel!).length);
      await subscriber.cancel();
      subscriber.history.complete(truth);
    }
  });

  it('end at the seal although late lines come at the same time', async () => {
    for (let i = 0; i < 10; i++) {
      const backupId = await newBackup(backend);
      const subscribers = backend.replicas.map(
        replica => new Subscriber(replica, { backupIds: [backupId], untilFinished: true }),
      );
      const late = writeAll(backend.replicas, backupId, 'line', 20);
      await finish(backend, backupId);
      await late;
      await append(backend, backupId, ['behind the seal']);
      const [head] = await backend.database.query('select sealedid from backup_log_heads where backupid = $1', [
        backupId,
      ]);
      for (const subscriber of subscribers) {
        assert.equal(await subscriber.done, undefined);
        assert.equal(subscriber.history.entries.length, Number(head!['sealedid']));
      }
    }
  });

  it('are not told of what comes behind a lost entry, when the database has failed over', async () => {
    const backupId = newBackupId();
    await append(backend, backupId, ['a', 'b']);
    const subscribers = [...(await follow(backupId, 2, backend)), ...(await follow(backupId, 2))];
    await append(backend, backupId, ['c']);
    for (const subscriber of subscribers) await subscriber.received(3);
    // What a failover to a standby that was behind does: the last entry is gone, its id given again, and every connection broken.
    await backend.database.query("update backup_logs set message = 'another' where backupid = $1 and id = 3", [
      backupId,
    ]);
    await backend.database.query(
      "select pg_terminate_backend(pid) from pg_stat_activity where datname = current_database() and application_name like 'backup-management%'",
    );
    await eventually(() => append(backend, backupId, ['d']));
    for (const subscriber of subscribers) {
      await refused(subscriber.over(), { code: 'ABORTED', reason: 'HISTORY_DIVERGED' });
      assert.deepEqual(subscriber.history.messages(), ['a', 'b', 'c']);
    }
  });

  it('keep no more of what came last than they may, and who is slower reads for itself', async () => {
    await using small = await startBackend({ settings: { TAIL_RECENT_BYTES: '20000' } });
    const backupId = newBackupId();
    const [subscriber] = await follow(backupId, 1, small);
    for (let i = 0; i < 40; i++) {
      await append(small, backupId, Array(50).fill('x'.repeat(100)));
      assert.ok(small.app.tails.size.recentBytes <= 20_000);
    }
    await subscriber!.received(2000);
    await subscriber!.cancel();
    subscriber!.history.complete(await truthOf(small.database, [backupId]));
    await eventually(() => assert.deepEqual(small.app.tails.size, { logs: 0, readers: 0, recentBytes: 0 }));
  });

  it('read a history side by side', async () => {
    const backupId = newBackupId();
    await fill(backend.database, backupId, 5000);
    const subscribers = Array.from({ length: 20 }, () => new Subscriber(far(), { backupIds: [backupId] }));
    const truth = await truthOf(backend.database, [backupId]);
    for (const subscriber of subscribers) {
      assert.equal(await subscriber.done, undefined);
      subscriber.history.complete(truth);
    }
  });
});
