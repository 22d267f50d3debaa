import { strict as assert } from 'node:assert';
import { randomInt, randomUUID } from 'node:crypto';
import { Outcome, Status } from '../../../src/gen/backup/v1/controller_pb.ts';
import { LogLevel } from '../../../src/gen/backup/v1/entry_pb.ts';
import { type Backend, startBackend } from '../../support/backend.ts';
import { eventually } from '../../support/eventually.ts';
import { refused } from '../../support/status.ts';
import {
  assertLost,
  claimedAgain,
  everything,
  expire,
  get,
  held,
  heldMany,
  LEASE_LOST,
  type Lease,
  logOf,
  queued,
} from './work.ts';

const LEASED = { code: 'FAILED_PRECONDITION', reason: 'CONTROLLER_LEASED' } as const;
const entries = [{ level: LogLevel.INFO, message: 'from the dead' }];

describe('A worker whose lease was lost', () => {
  let backend: Backend;
  before(async () => {
    backend = await startBackend({ replicas: 2 });
  });
  after(() => backend[Symbol.asyncDispose]());

  // Of the run that a test is about: nothing that others have left is claimed.
  let format = '';
  beforeEach(() => {
    format = `f${randomInt(2 ** 47)}`;
  });
  const hold = (maxAttempts = 2) => held(backend, { run: { maxAttempts, format }, claim: { filter: { format } } });
  const claimAgain = (backupId: string) => claimedAgain(backend, backupId, { worker: 'next', filter: { format } });
  const lapsed = async ({ backupId }: Lease) => {
    await expire(backend.database, backupId);
    await eventually(async () => assert.equal((await get(backend, backupId)).lease, undefined));
  };

  // How the lease is lost; true when somebody else holds the run then.
  const ways: Record<string, (lease: Lease) => Promise<boolean>> = {
    'expired, and another claimed it': async lease => {
      await lapsed(lease);
      await claimAgain(lease.backupId);
      return true;
    },
    'expired, and nobody claimed it': async lease => {
      await lapsed(lease);
      return false;
    },
    'released it': async lease => {
      await backend.controllers.releaseController(lease);
      return false;
    },
    'released it, and claimed it again': async lease => {
      await backend.controllers.releaseController(lease);
      await claimAgain(lease.backupId);
      return true;
    },
    'finished it': async lease => {
      await backend.controllers.finishControllers({ finishes: [{ ...lease, outcome: Outcome.FAILED, reason: 'x' }] });
      return false;
    },
    'was to cancel it, and its lease expired': async lease => {
      await backend.controllers.cancelController({ backupId: lease.backupId });
      await lapsed(lease);
      return false;
    },
    'had its run deleted by force': async lease => {
      await backend.controllers.deleteController({ backupId: lease.backupId, force: true });
      return false;
    },
    'had its run deleted by force, and created anew': async lease => {
      const { backupId } = lease;
      await backend.controllers.deleteController({ backupId, force: true });
      await queued(backend, { backupId, format });
      await claimAgain(backupId);
      return true;
    },
  };

  for (const [how, lose] of Object.entries(ways)) {
    it(`changes nothing any more: it ${how}`, async () => {
      const lease = await hold();
      const { backupId } = lease;
      await backend.logs.appendLogs({ ...lease, entries: [{ level: LogLevel.INFO, message: 'alive' }] });
      const another = await lose(lease);
      const before = await everything(backend.database);
      const { controllers, logs } = backend.replicas[1]!;
      const reports = await controllers.reportProgress({ reports: [{ ...lease, progress: 0.9, reset: true }] });
      assertLost(reports.results[0]!.error);
      for (const ending of [{ outcome: Outcome.SUCCEEDED }, { outcome: Outcome.FAILED, reason: 'from the dead' }]) {
        const { results } = await controllers.finishControllers({ finishes: [{ ...lease, ...ending, entries }] });
        assertLost(results[0]!.error);
        assert.deepEqual([results[0]!.status, results[0]!.sealedId], [0, 0n]);
      }
      await refused(controllers.releaseController({ ...lease, requestId: randomUUID() }), LEASE_LOST);
      await refused(controllers.releaseController(lease), LEASE_LOST);
      await refused(logs.appendLogs({ ...lease, entries }), LEASE_LOST);
      await refused(logs.appendLogs({ ...lease, entries, requestId: randomUUID() }), LEASE_LOST);
      if (another) {
        const update = { backupId, controller: { progress: 0.9 }, updateMask: { paths: ['progress'] } };
        await refused(controllers.updateController(update), LEASED);
        const step = { backupId, from: Status.EXECUTING, to: Status.FINISHED_OK };
        await refused(controllers.transitionController(step), LEASED);
      }
      assert.deepEqual(await everything(backend.database), before);
    });
  }

  it('is answered as the first time when it sends an append again', async () => {
    const lease = await hold();
    const request = { ...lease, entries, requestId: randomUUID() };
    const first = await backend.logs.appendLogs(request);
    await backend.controllers.releaseController(lease);
    assert.deepEqual(await backend.replicas[1]!.logs.appendLogs(request), first);
    assert.deepEqual(await logOf(backend.database, lease.backupId), ['1 40 from the dead']);
    const other = { ...request, entries: [...entries, ...entries] };
    await refused(backend.logs.appendLogs(other), { code: 'INVALID_ARGUMENT', reason: 'REQUEST_ID_REUSED' });
  });

  it('writes with the attempt of its lease while it holds it, and others with none', async () => {
    const lease = await hold();
    const { backupId } = lease;
    await backend.logs.appendLogs({ ...lease, leaseToken: lease.leaseToken.toUpperCase(), entries });
    await backend.logs.appendLogs({ backupId, entries });
    await lapsed(lease);
    await backend.logs.appendLogs({ ...(await claimAgain(backupId)), entries });
    const attempts = (await backend.logs.listLogs({ backupId })).entries.map(({ attempt }) => attempt);
    assert.deepEqual(attempts, [1, 0, 1, 2]);
  });

  it('has nothing in the log behind the seal, although it appends while its run is ended', async () => {
    const leases = await heldMany(backend, backend.database, 100);
    await Promise.all(leases.slice(0, 50).map((lease, i) => race(lease, i)));
    for (let i = 50; i < 100; i += 5) await Promise.all(leases.slice(i, i + 5).map((lease, n) => race(lease, n)));
    const late = await backend.database.query(
      `select l.backupid, l.id, h.sealedid from backup_logs l join backup_log_heads h using (backupid)
       where l.attempt = 1 and l.id > h.sealedid`,
    );
    assert.deepEqual(late, []);
  });

  /** Appends on both replicas while the run is ended: each is there, before the seal, or it was refused. */
  async function race(lease: Lease, n: number): Promise<void> {
    const appends = Array.from({ length: 8 }, (_, i) => {
      const requestId = i % 3 === 0 ? randomUUID() : '';
      return backend.replicas[i % 2]!.logs.appendLogs({ ...lease, entries, requestId });
    });
    const finishing = backend.replicas[n % 2]!.controllers.finishControllers({
      finishes: [{ ...lease, outcome: Outcome.SUCCEEDED }],
    });
    const outcomes = await Promise.allSettled(appends);
    const [result] = (await finishing).results;
    assert.equal(result!.error, undefined);
    const kept = outcomes.filter(({ status }) => status === 'fulfilled').length;
    assert.equal(result!.sealedId, BigInt(kept));
    for (const [i, { status }] of outcomes.entries()) if (status === 'rejected') await refused(appends[i]!, LEASE_LOST);
    assert.equal((await logOf(backend.database, lease.backupId)).length, kept);
  }
});
