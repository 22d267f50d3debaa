import { strict as assert } from 'node:assert';
import { LogLevel } from '../../../src/gen/backup/v1/entry_pb.ts';
import { startBackend } from '../../support/backend.ts';
import { History } from '../../support/history.ts';
import { Subscriber } from '../../support/subscriber.ts';
import { append, newBackupId, truthOf, writeAll } from '../../support/writing.ts';

describe('TailLogs under concurrent writers on two replicas', () => {
  it('delivers what 50 writers append to one backup once, in order and without a gap', async () => {
    await using backend = await startBackend({ replicas: 2 });
    const backupId = newBackupId();
    const subscribers = backend.replicas.map(
      replica => new Subscriber(replica, { backupIds: [backupId], follow: true }),
    );
    const writers = Array.from({ length: 50 }, (_, i) => {
      const replica = backend.replicas[i % 2]!;
      return writeAll([replica], backupId, `writer ${i}`, 20, 1 + (i % 5));
    });
    await Promise.all(writers);
    const truth = await truthOf(backend.database, [backupId]);
    assert.equal(truth.length, 10 * 20 * (1 + 2 + 3 + 4 + 5));
    assert.deepEqual(
      truth.map(row => row.id),
      truth.map((_, i) => String(i + 1)),
    );
    for (const subscriber of subscribers) {
      await subscriber.received(truth.length);
      await subscriber.cancel();
      subscriber.history.complete(truth);
      inOrderOfEachWriter(subscriber.history);
    }
  });

  it('delivers what 50 writers append to 50 backups to one subscriber of them all', async () => {
    await using backend = await startBackend({ replicas: 2 });
    const backupIds = Array.from({ length: 50 }, newBackupId);
    const [quiet, all] = [LogLevel.WARNING, LogLevel.DEBUG].map(
      maxLevel => new Subscriber(backend.replicas[1]!, { backupIds, maxLevel, follow: true }),
    );
    await Promise.all([
      ...backupIds.map((backupId, i) => writeAll([backend.replicas[i % 2]!], backupId, `writer ${i}`, 20, 2)),
      ...backupIds.map(backupId => append(backend, backupId, ['warning'], LogLevel.WARNING)),
    ]);
    const truth = await truthOf(backend.database, backupIds);
    assert.equal(truth.length, 50 * 41);
    await all!.received(truth.length);
    await quiet!.received(50);
    for (const subscriber of [all!, quiet!]) {
      await subscriber.cancel();
      subscriber.history.complete(truth);
    }
  });

  it('goes from a history of 100,000 entries to live without a seam', async () => {
    await using backend = await startBackend({ replicas: 2 });
    const backupId = newBackupId();
    await backend.database.query(
      `with head as (insert into backup_log_heads (backupid, lastid) values ($1, 100000))
       insert into backup_logs (backupid, id, loglevel, message, created_at)
       select $1, i, 40, 'history ' || i, 1 from generate_series(1, 100000) i`,
      [backupId],
    );
    const writing = writeAll(backend.replicas, backupId, 'live', 300);
    const subscriber = new Subscriber(backend.replicas[1]!, { backupIds: [backupId], follow: true });
    await writing;
    await subscriber.received(100_300);
    await subscriber.told('caughtUp');
    await subscriber.cancel();
    subscriber.history.complete(await truthOf(backend.database, [backupId]));
  });

  it('never loses or doubles an entry over random resumes on either replica', async () => {
    await using backend = await startBackend({ replicas: 2 });
    const backupIds = [newBackupId(), newBackupId()];
    const writing = Promise.all(
      backupIds.map((backupId, i) => writeAll(backend.replicas, backupId, `writer ${i}`, 200, 3)),
    );
    let written = false;
    void writing.then(() => {
      written = true;
    });
    const history = new History();
    let subscriber = new Subscriber(backend, { backupIds, follow: true }, history);
    for (let i = 0; !written || history.entries.length < 1200; i++) {
      await subscriber.received(Math.min(1200, history.entries.length + 1 + (i % 90)));
      await subscriber.cancel();
      subscriber = subscriber.resume(backend.replicas[i % 2]!);
    }
    await writing;
    await subscriber.cancel();
    history.complete(await truthOf(backend.database, backupIds));
  });
});

function inOrderOfEachWriter(history: History): void {
  const last = new Map<string, number>();
  for (const message of history.messages()) {
    const [, writer, number] = message.match(/^(.*) (\d+)$/)!;
    assert.equal(Number(number), (last.get(writer!) ?? -1) + 1, message);
    last.set(writer!, Number(number));
  }
}
