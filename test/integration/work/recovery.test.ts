import { strict as assert } from 'node:assert';
import { Outcome, Status } from '../../../src/gen/backup/v1/controller_pb.ts';
import { LogLevel } from '../../../src/gen/backup/v1/entry_pb.ts';
import { type Backend, type Replica, startBackend, startReplica } from '../../support/backend.ts';
import { createDatabase, type Database } from '../../support/database.ts';
import { eventually } from '../../support/eventually.ts';
import { locked } from '../../support/locked.ts';
import { Subscriber } from '../../support/subscriber.ts';
import { claimed, claimedAgain, expire, get, headOf, held, heldMany, logOf, looked, onlyWoken } from './work.ts';

// For tests that are not about how soon it is found.
const often = { SWEEP_INTERVAL: '100ms' };

const time = '\\d{4}-\\d\\d-\\d\\dT\\d\\d:\\d\\d:\\d\\d\\.\\d{3}Z';

describe('A worker that is not heard of', () => {
  let backend: Backend;
  before(async () => {
    backend = await startBackend({ replicas: 2, settings: { ...onlyWoken, ...often } });
  });
  after(() => backend[Symbol.asyncDispose]());

  const ended = (backupId: string, { controllers }: Pick<Replica, 'controllers'> = backend) =>
    eventually(async () => {
      const run = await get({ controllers }, backupId);
      assert.equal(run.lease, undefined);
      return run;
    });

  it('loses its run within a second of the end of its lease, and the log says who it was and since when', async () => {
    await using usual = await startBackend({ replicas: 2, settings: onlyWoken });
    const claim = { worker: 'worker 7', leaseDuration: { seconds: 1n } };
    const lease = await held(usual, { run: { payload: Buffer.from('state') }, claim });
    const { backupId } = lease;
    await using subscriber = new Subscriber(usual.replicas[1]!, { backupIds: [backupId], untilFinished: true });
    await usual.logs.appendLogs({ ...lease, entries: [{ level: LogLevel.INFO, message: 'a' }] });
    await usual.controllers.reportProgress({ reports: [{ ...lease, progress: 0.5 }] });
    const { acquireTime, expireTime } = (await get(usual, backupId)).lease!;
    const run = await ended(backupId, usual);
    assert.deepEqual(
      [run.status, run.outcome, run.attempt, run.lostAttempts, run.progress],
      [Status.FINISHED_ERR, Outcome.LOST, 1, 1, 0.5],
    );
    assert.ok(run.endTime!.seconds >= expireTime!.seconds);
    const log = await logOf(usual.database, backupId);
    const iso = ({ seconds, nanos }: { seconds: bigint; nanos: number }) =>
      new Date(Number(seconds) * 1000 + nanos / 1e6).toISOString();
    const lost = `Lost: worker 7 had held this run since ${iso(acquireTime!)} (attempt 1) and was not heard of until ${iso(expireTime!)}`;
    assert.deepEqual(log, ['1 40 a', `1 20 ${lost}`]);
    assert.deepEqual(await headOf(usual.database, backupId), ['2', '2']);
    assert.equal(await subscriber.done, undefined);
    assert.deepEqual(subscriber.history.messages(), ['a', lost]);
    const [{ late } = {}] = await usual.database.query(
      `select l.created_at * 1000 + created_nanos / 1000000 - leaseexpires as late
       from backup_logs l join backup_controllers using (backupid) where backupid = $1 and loglevel = 20`,
      [backupId],
    );
    // A second is the promise; the rest is for a machine that is busy with other tests.
    assert.ok(Number(late) >= 0 && Number(late) <= 1500, `${late} ms`);
  });

  it('gives way to another one while attempts are left, and is lost for good with the last of them', async () => {
    const format = 'three';
    const { backupId } = await held(backend, { run: { maxAttempts: 3, format } });
    for (let lost = 1; lost <= 3; lost++) {
      await expire(backend.database, backupId);
      const run = await ended(backupId);
      assert.deepEqual([run.attempt, run.lostAttempts], [lost, lost]);
      const log = await logOf(backend.database, backupId);
      const again = lost < 3 ? '; it waits for another worker' : '';
      const pattern = `^${lost} 20 Lost: w had held this run since ${time} \\(attempt ${lost}\\) and was not heard of until ${time}${again}$`;
      assert.equal(log.length, lost);
      assert.match(log.at(-1)!, new RegExp(pattern));
      const [last, sealed] = (await headOf(backend.database, backupId))!;
      if (lost < 3) {
        assert.deepEqual([run.status, run.outcome, run.endTime, sealed], [Status.AWAITING, 0, undefined, null]);
        await claimedAgain(backend, backupId, { filter: { format } });
      } else {
        assert.deepEqual([run.status, run.outcome, sealed], [Status.FINISHED_ERR, Outcome.LOST, last]);
      }
    }
  });

  it('does not use up an attempt by releasing', async () => {
    const run = { maxAttempts: 2, format: 'two' };
    const claim = { filter: { format: 'two' } };
    const lease = await held(backend, { run });
    await backend.controllers.releaseController(lease);
    for (const status of [Status.AWAITING, Status.FINISHED_ERR]) {
      await claimedAgain(backend, lease.backupId, claim);
      await expire(backend.database, lease.backupId);
      assert.equal((await ended(lease.backupId)).status, status);
    }
  });

  it('leaves a run CANCELLED that was to be cancelled, whatever attempts are left', async () => {
    const { backupId } = await held(backend, { run: { maxAttempts: 5 } });
    await backend.controllers.cancelController({ backupId, reason: 'not needed' });
    await expire(backend.database, backupId);
    const run = await ended(backupId);
    assert.deepEqual([run.status, run.outcome, run.lostAttempts], [Status.FINISHED_ERR, Outcome.CANCELLED, 1]);
    const log = await logOf(backend.database, backupId);
    assert.match(log.at(-1)!, /^1 20 Lost: .*; it was to be cancelled$/);
    assert.deepEqual(await headOf(backend.database, backupId), [`${log.length}`, `${log.length}`]);
  });

  it('keeps its run when its report comes before anybody has looked, although the lease had ended', async () => {
    const lease = await held(backend);
    {
      await looked(backend.database);
      await using _turn = await locked(
        backend.database,
        "select from backup_settings where name = 'last_sweep' for update",
      );
      await expire(backend.database, lease.backupId);
      const { results } = await backend.controllers.reportProgress({ reports: [lease] });
      assert.equal(results[0]!.error, undefined);
    }
    await swept(backend.database);
    assert.equal((await get(backend, lease.backupId)).lease!.worker, 'w');
  });

  it('is settled once, also when many replicas look and many workers are gone', async () => {
    const leases = await heldMany(backend, backend.database, 700);
    const ids = leases.map(({ backupId }) => backupId);
    await backend.database.query('update backup_controllers set leaseexpires = 1 where backupid = any ($1)', [ids]);
    await eventually(async () => {
      const left = await backend.database.query(
        'select from backup_controllers where leasetoken is not null and backupid = any ($1)',
        [ids],
      );
      assert.equal(left.length, 0);
    });
    const [row] = await backend.database.query(
      `select (select sum(lostattempts)::int from backup_controllers where backupid = any ($1)) as lost,
              (select count(*)::int from backup_logs where backupid = any ($1)) as entries,
              (select count(*)::int from backup_log_heads where backupid = any ($1) and sealedid = 1) as sealed`,
      [ids],
    );
    assert.deepEqual(row, { lost: 700, entries: 700, sealed: 700 });
  });

  for (const how of ['free', 'locked by somebody for a moment']) {
    it(`keeps its run after a time in which nobody could hear of it: leases get their time again (row ${how})`, async () => {
      await using database = await createDatabase();
      let backupId = '';
      {
        await using replica = await startReplica(database.url, often);
        ({ backupId } = await held(replica, { claim: { leaseDuration: { seconds: 60n } } }));
      }
      await expire(database, backupId);
      await database.query("update backup_settings set value = value::bigint - 10000 where name = 'last_sweep'");
      const row = how === 'free' ? 'select' : 'select from backup_controllers for update';
      const lock = await locked(database, row);
      await using replica = await startReplica(database.url, often);
      if (how !== 'free') await lock.waited();
      await lock[Symbol.asyncDispose]();
      await swept(database);
      const { status, attempt } = await get(replica, backupId);
      assert.deepEqual([status, attempt], [Status.EXECUTING, 1]);
      const sql =
        'select leaseexpires - floor(extract(epoch from now()) * 1000)::bigint as left from backup_controllers';
      assert.ok(Number((await database.query(sql))[0]!['left']) > 50_000);
      await expire(database, backupId);
      assert.equal((await ended(backupId, replica)).outcome, Outcome.LOST);
    });
  }

  it("is found although the database's clock was set back since somebody has looked last", async () => {
    const { backupId } = await held(backend);
    await backend.database.query(
      "update backup_settings set value = value::bigint + 3600000 where name = 'last_sweep'",
    );
    await expire(backend.database, backupId);
    assert.equal((await ended(backupId)).outcome, Outcome.LOST);
  });

  it('is found also when it is the only thing in the queue that a claim waits for', async () => {
    const { backupId } = await held(backend, { run: { maxAttempts: 2, format: 'last' } });
    await expire(backend.database, backupId);
    const [one] = await claimed(backend.replicas[1]!, { filter: { format: 'last' }, wait: { seconds: 10n } });
    assert.deepEqual([one!.controller!.backupId, one!.controller!.attempt], [backupId, 2]);
  });
});

/** Two more looks for leases that have ended have come to their end. */
async function swept(database: Database): Promise<void> {
  const last = async () =>
    (await database.query("select value from backup_settings where name = 'last_sweep'"))[0]!['value'];
  for (let i = 0; i < 2; i++) {
    const before = await last();
    await eventually(async () => assert.notEqual(await last(), before));
  }
}
