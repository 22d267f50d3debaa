import { strict as assert } from 'node:assert';
import { status } from '@grpc/grpc-js';
import { type Backend, startBackend } from '../../support/backend.ts';
import { eventually } from '../../support/eventually.ts';
import { locked } from '../../support/locked.ts';
import { detailsOf, endsWith } from '../../support/status.ts';
import { append, newBackup, newBackupId } from '../../support/writing.ts';
import { claimed, fillQueue, heldMany } from '../work/work.ts';

const everything = `lock table backup_controllers, backup_logs, backup_log_heads in access exclusive mode`;

describe('What waits for a database that does not answer', () => {
  it('is bounded, whatever it is: what is too much is refused, and what was taken is done', async () => {
    const settings = { MAX_WAITING: '100', CALL_TIMEOUT: '30s' };
    await using backend = await startBackend({ settings });
    const { database } = backend;
    const backupId = await newBackup(backend);
    const leases = await heldMany(backend, database, 3);
    await fillQueue(database, 300);
    const kinds: Record<string, () => Promise<unknown>> = {
      reads: () => backend.controllers.getController({ backupId }),
      claims: () => claimed(backend),
      reports: () => backend.controllers.reportProgress({ reports: [{ ...leases[0]!, progress: 0.5 }] }),
      finishes: () => backend.controllers.finishControllers({ finishes: [{ ...leases[1]!, outcome: 1 }] }),
    };
    for (const [kind, call] of Object.entries(kinds)) {
      const before = backend.app.admission.refused.get('waiting of replica') ?? 0;
      let calls: Promise<unknown>[] = [];
      {
        await using _lock = await locked(database, everything);
        calls = Array.from({ length: 1000 }, call);
        // Two lanes, with a batch each under way, and 100 that wait; all others are answered at once.
        const waiting = await settled(backend, calls);
        assert.ok(waiting >= 100 && waiting <= 300, `${kind}: ${waiting}`);
      }
      const outcomes = await outcomesOf(calls);
      assert.ok(outcomes.refused >= 500, `${kind}: ${outcomes.refused} refused`);
      assert.equal(outcomes.done + outcomes.refused, 1000, `${kind}: ${outcomes.others}`);
      assert.equal((backend.app.admission.refused.get('waiting of replica') ?? 0) - before, outcomes.refused);
      assert.equal(backend.app.admission.calls, 0);
      await call().catch(() => {});
    }
    // Each run of the queue was given to one claim that was told so, and none to one that was refused.
    const [{ given } = {}] = await database.query(
      "select count(*)::int as given from backup_controllers where status = 800 and leaseworker = 'w'",
    );
    assert.ok(Number(given) > 100);
  });

  it('is bounded for changes in transactions, of which each has a connection of its own', async () => {
    const settings = { MAX_WAITING: '50', DATABASE_POOL_SIZE: '5', DATABASE_CONNECT_TIMEOUT: '20s' };
    await using backend = await startBackend({ settings });
    let calls: Promise<unknown>[] = [];
    let taken = 0;
    const ids = Array.from({ length: 1000 }, newBackupId);
    {
      await using _lock = await locked(backend.database, everything);
      calls = ids.map(id => newBackup(backend, id));
      // What the service does by itself takes some of the 5 connections and 50 places.
      taken = await settled(backend, calls);
      assert.ok(taken >= 50 && taken <= 55, `${taken}`);
    }
    const outcomes = await outcomesOf(calls);
    assert.deepEqual([outcomes.done, outcomes.refused], [taken, 1000 - taken], outcomes.others.join());
    assert.deepEqual(await backend.database.query('select count(*)::int as n from backup_controllers'), [{ n: taken }]);
  });

  it('takes no memory for what is refused, and thousands of appends find the service as it was', async () => {
    const settings = { APPEND_QUEUE_BYTES: '1048576' };
    await using backend = await startBackend({ settings });
    const backupId = newBackupId();
    const text = 'x'.repeat(10_000);
    await append(backend, backupId, [text]);
    let kept = 1;
    const rounds = [];
    for (let round = 0; round < 3; round++) {
      let calls: Promise<unknown>[] = [];
      {
        await using _lock = await locked(backend.database, everything);
        calls = Array.from({ length: 2000 }, () => append(backend, backupId, [text]));
        const waiting = await settled(backend, calls);
        assert.ok(waiting >= 100 && waiting <= 105, `${waiting}`);
      }
      const outcomes = await outcomesOf(calls);
      assert.equal(outcomes.done + outcomes.refused, 2000, outcomes.others.join());
      kept += outcomes.done;
      rounds.push(outcomes.done);
      const { lastId } = await append(backend, backupId, ['after']);
      assert.equal(lastId, BigInt(++kept), 'the ids are dense, of what was acknowledged only');
    }
    assert.ok(
      rounds.every(done => done >= 100 && done <= 110),
      `${rounds}`,
    );
  });

  it('makes room when callers are gone', async () => {
    await using backend = await startBackend({ settings: { MAX_WAITING: '50' } });
    const backupId = await newBackup(backend);
    let late: Promise<unknown>[] = [];
    {
      await using _lock = await locked(backend.database, everything);
      const stop = new AbortController();
      const read = (signal?: AbortSignal) => backend.controllers.getController({ backupId }, signal ? { signal } : {});
      const busy = [read(), read()];
      await waiting(backend, 2);
      const gone = Array.from({ length: 50 }, () => endsWith(read(stop.signal), 'CANCELLED'));
      await eventually(() => assert.equal(backend.app.admission.calls, 52));
      stop.abort();
      await Promise.all(gone);
      await eventually(() => assert.equal(backend.app.admission.calls, 2));
      late = Array.from({ length: 50 }, () => read());
      await eventually(() => assert.equal(backend.app.admission.calls, 52));
      late.push(...busy);
    }
    await Promise.all(late);
  });
});

async function waiting(backend: Backend, count: number): Promise<void> {
  await eventually(async () => {
    const [{ n } = {}] = await backend.database.query(
      `select count(*)::int as n from pg_stat_activity
       where datname = current_database() and wait_event_type = 'Lock' and query ~ 'from backup_controllers c where'`,
    );
    assert.ok(Number(n) >= Math.min(count, 1));
  });
}

/** How many of these calls are still waited for when all others have been answered. */
async function settled(backend: Backend, calls: Promise<unknown>[]): Promise<number> {
  let answered = 0;
  const count = () => answered++;
  for (const one of calls) one.then(count, count);
  await eventually(() => assert.equal(backend.app.admission.calls + answered, calls.length));
  return backend.app.admission.calls;
}

async function outcomesOf(calls: Promise<unknown>[]) {
  const outcomes = { done: 0, refused: 0, others: [] as string[] };
  for (const one of await Promise.allSettled(calls)) {
    if (one.status === 'fulfilled') outcomes.done++;
    else if (one.reason.code === status.RESOURCE_EXHAUSTED) {
      const { info, retry } = detailsOf(one.reason.metadata);
      assert.ok(info?.reason === 'OVERLOADED' && retry?.retryDelay);
      outcomes.refused++;
    } else outcomes.others.push(`${one.reason}`);
  }
  return outcomes;
}
