import { strict as assert } from 'node:assert';
import { randomUUID } from 'node:crypto';
import type { MessageInitShape } from '@bufbuild/protobuf';
import type { ProgressReportSchema } from '../../../src/gen/backup/v1/controller_pb.ts';
import { type Backend, type Replica, startBackend } from '../../support/backend.ts';
import { engine } from '../../support/database.ts';
import { eventually } from '../../support/eventually.ts';
import { refused } from '../../support/status.ts';
import { Subscriber } from '../../support/subscriber.ts';
import { newBackupId } from '../../support/writing.ts';
import { rowOf } from '../controller/requests.ts';
import { assertLost, get, held, heldMany, type Lease, now, onlyWoken, queued } from './work.ts';

type Report = MessageInitShape<typeof ProgressReportSchema>;

describe('ControllerService.ReportProgress', () => {
  let backend: Backend;
  before(async () => {
    backend = await startBackend({ replicas: 2, settings: onlyWoken });
  });
  after(() => backend[Symbol.asyncDispose]());

  const report = async (reports: Report[], { controllers }: Pick<Replica, 'controllers'> = backend, requestId = '') =>
    (await controllers.reportProgress({ reports, requestId })).results;

  it('never lets progress go backwards, unless it is reset', async () => {
    const lease = await held(backend);
    for (const [progress, reset, kept] of [
      [0.5, false, 0.5],
      [0.25, false, 0.5],
      [0.123_456_789_012_34, true, 0.123_456_789_012_34],
      [undefined, false, 0.123_456_789_012_34],
      [undefined, true, 0.123_456_789_012_34],
      [1, false, 1],
      [0, false, 1],
      [0, true, 0],
    ] as const) {
      const [result] = await report([{ ...lease, ...(progress !== undefined && { progress }), reset }]);
      assert.deepEqual([result!.progress, result!.cancelRequested, result!.error], [kept, false, undefined]);
      assert.equal((await get(backend, lease.backupId)).progress, kept);
    }
  });

  it('answers a thousand in one call, each for itself and in their order', async () => {
    const leases = await heldMany(backend, backend.database, 997);
    const lost = await queued(backend);
    const reports = leases.map((lease, i) => ({ ...lease, progress: i / 1000 }));
    const stranger: Lease & Report = { backupId: leases[0]!.backupId, leaseToken: randomUUID(), progress: 1 };
    // Another's token, a run that nobody holds, and one that does not exist; the first of `reports` is left out for the other's.
    const wrong = [stranger, ...[lost.backupId, newBackupId()].map(backupId => ({ ...stranger, backupId }))];
    const all = [...wrong.slice(0, 2), ...reports.slice(1).reverse(), wrong[2]!];
    const results = await report(all);
    assert.deepEqual(
      results.map(({ backupId }) => backupId),
      all.map(({ backupId }) => backupId),
    );
    for (const [i, result] of results.entries()) {
      if (wrong.includes(all[i]!)) {
        assertLost(result.error);
        assert.deepEqual([result.leaseExpireTime, result.progress], [undefined, 0]);
      } else assert.deepEqual([result.error, result.progress], [undefined, all[i]!.progress]);
    }
    const sum = await backend.database.query(
      'select sum(progress)::float8 as sum from backup_controllers where attempt = 1',
    );
    const expected = reports.slice(1).reduce((sum, { progress }) => sum + progress, 0);
    assert.ok(Math.abs(Number(sum[0]!['sum']) - expected) < 1 + 1e-6);
    assert.equal((await get(backend, leases[0]!.backupId)).progress, 0);
  });

  it("renews the lease by the duration that it was given with, by the database's clock", async () => {
    for (const seconds of [5, 600]) {
      const lease = await held(backend, { claim: { leaseDuration: { seconds: BigInt(seconds) } } });
      await backend.database.query(
        'update backup_controllers set leaseexpires = 1 + leaseexpires where backupid = $1',
        [lease.backupId],
      );
      const start = await now(backend.database);
      const [result] = await report([lease]);
      const end = await now(backend.database);
      const { lease: shown } = await get(backend, lease.backupId);
      assert.deepEqual(shown!.expireTime, result!.leaseExpireTime);
      const given = Number(shown!.expireTime!.seconds) + shown!.expireTime!.nanos / 1e9 - seconds;
      assert.ok(given >= start - 0.001 && given <= end, `${given} from ${start} to ${end}`);
    }
  });

  it('changes nothing of the row but the progress and the end of the lease', async () => {
    const lease = await held(backend, { run: { payload: Buffer.from('state') } });
    await backend.database.query('update backup_controllers set updated_at = 1000 where backupid = $1', [
      lease.backupId,
    ]);
    const [before, shown] = [await rowOf(backend.database, lease.backupId), await get(backend, lease.backupId)];
    await report([{ ...lease, progress: 0.5 }]);
    const { progress, leaseexpires, ...after } = await rowOf(backend.database, lease.backupId);
    assert.equal(progress, '0.50000000000000');
    assert.deepEqual({ ...after, progress: before['progress'], leaseexpires: before['leaseexpires'] }, before);
    assert.equal((await get(backend, lease.backupId)).etag, shown.etag);
  });

  it('changes once for a request id, and gives the first answer again', async () => {
    const lease = await held(backend);
    const requestId = randomUUID();
    const first = await report([{ ...lease, progress: 0.5, reset: true }], backend, requestId);
    await report([{ ...lease, progress: 0.75 }]);
    assert.deepEqual(await report([{ ...lease, progress: 0.5, reset: true }], backend.replicas[1]!, requestId), first);
    assert.equal((await get(backend, lease.backupId)).progress, 0.75);
    const other = report([{ ...lease, progress: 0.6 }], backend, requestId);
    await refused(other, { code: 'INVALID_ARGUMENT', reason: 'REQUEST_ID_REUSED' });
  });

  it('keeps the greatest of many at once, on both replicas', async () => {
    const lease = await held(backend);
    const results = await Promise.all(
      Array.from({ length: 60 }, (_, i) =>
        report([{ ...lease, progress: ((i * 37) % 60) / 100 }], backend.replicas[i % 2]),
      ),
    );
    for (const [i, [result]] of results.entries()) {
      assert.equal(result!.error, undefined);
      assert.ok(result!.progress >= ((i * 37) % 60) / 100);
    }
    assert.equal((await get(backend, lease.backupId)).progress, 0.59);
  });

  it('of many runs at once in opposite orders, on both replicas, never waits in a circle', async () => {
    const leases = await heldMany(backend, backend.database, 100);
    const orders = [leases, leases.toReversed()];
    for (let round = 0; round < 20; round++) {
      const calls = [0, 1, 2, 3].map(i =>
        report(
          orders[i % 2]!.map(lease => ({ ...lease, progress: round / 20 })),
          backend.replicas[i >> 1],
          round % 2 ? randomUUID() : '',
        ),
      );
      for (const results of await Promise.all(calls)) for (const { error } of results) assert.equal(error, undefined);
    }
  });

  it('tells the worker that it is to stop, and does not renew the lease any more', async () => {
    const lease = await held(backend);
    const [before] = await report([{ ...lease, progress: 0.25 }]);
    await backend.controllers.cancelController({ backupId: lease.backupId });
    for (const progress of [0.5, 0.75]) {
      const [result] = await report([{ ...lease, progress }], backend.replicas[1]);
      assert.deepEqual([result!.cancelRequested, result!.progress, result!.error], [true, progress, undefined]);
      assert.deepEqual(result!.leaseExpireTime, before!.leaseExpireTime);
    }
  });

  it('is told to whoever tails the log, on the other replica', async () => {
    const lease = await held(backend);
    await using subscriber = new Subscriber(backend.replicas[1]!, { backupIds: [lease.backupId], follow: true });
    await subscriber.told('caughtUp');
    await report([{ ...lease, progress: 0.5 }]);
    await eventually(() => {
      const { status, progress } = subscriber.history.all('state').at(-1)!;
      assert.deepEqual([status, progress], [800, 0.5]);
    });
  });

  it('rewrites no index: most reports are HOT updates', async () => {
    await using own = await startBackend();
    const leases = await heldMany(own, own.database, 100);
    for (let round = 1; round <= 30; round++) {
      await report(
        leases.map(lease => ({ ...lease, progress: round / 30 })),
        own,
      );
    }
    // Connections count for themselves and tell it when they end.
    await own.replicas[0]![Symbol.asyncDispose]();
    const [{ updates, hot } = {}] = await own.database.query(
      `select n_tup_upd::int as updates, n_tup_hot_upd::int as hot from pg_stat_user_tables where relname = 'backup_controllers'`,
    );
    assert.equal(updates, 100 + 3000);
    // With an index on what changes there would be none. Not all: the first ones find their pages full, and later ones, too, while somebody who
    // still reads keeps old versions from being cleaned away; then the new version of a row has to go to another page.
    // On Citus that somebody is its maintenance daemon, for most of the time.
    assert.ok(Number(hot) >= (engine === 'citus' ? 100 : 1500), `${hot} of 3000`);
  });
});
