import { strict as assert } from 'node:assert';
import { Status } from '../../../src/gen/backup/v1/controller_pb.ts';
import { type Backend, startBackend } from '../../support/backend.ts';
import { eventually } from '../../support/eventually.ts';
import { endsWith, refused } from '../../support/status.ts';
import { claimed, fillQueue, get, queued, standstill } from './work.ts';

describe('Many who claim at the same time', () => {
  it('are never given the same run, and leave none', async () => {
    await using backend = await startBackend({ replicas: 2 });
    const ids = await fillQueue(backend.database, 300);
    const given: string[] = [];
    const work = async (n: number) => {
      for (;;) {
        const all = await claimed(backend.replicas[n % 2]!, { worker: `w${n}`, maxControllers: 1 + (n % 5) });
        given.push(...all.map(({ controller }) => controller!.backupId));
        // What others have locked for a moment is passed over: nothing was given, and there may be more.
        if (all.length === 0 && given.length >= 300) return;
      }
    };
    await Promise.all(Array.from({ length: 16 }, (_, n) => work(n)));
    assert.equal(given.length, 300);
    assert.deepEqual(given.toSorted(), ids.toSorted());
    assert.deepEqual(
      await backend.database.query(
        'select attempt, status, count(distinct leasetoken)::int as tokens from backup_controllers group by 1, 2',
      ),
      [{ attempt: 1, status: 800, tokens: 300 }],
    );
  });

  it('are dealt out to in turn, so that a greedy one leaves something to the others', async () => {
    await using backend = await startBackend();
    const ids = await fillQueue(backend.database, 8);
    await using pause = await standstill(backend.database);
    // These two are under way and find nothing: what comes meanwhile goes together with the next.
    const busy = await pause.occupied(() => claimed(backend, { filter: { format: 'none' } }));
    const claims = [50, 1, 2].map(maxControllers => claimed(backend, { maxControllers }));
    await eventually(() => assert.equal(backend.app.admission.calls, 5));
    await pause[Symbol.asyncDispose]();
    assert.deepEqual(await Promise.all(busy), [[], []]);
    const shares = (await Promise.all(claims)).map(share => share.map(({ controller }) => controller!.backupId));
    assert.deepEqual(
      shares.map(share => share.length),
      [5, 1, 2],
    );
    assert.deepEqual(
      shares.map(share => share.map(id => ids.indexOf(id))),
      shares.map(share => share.map(id => ids.indexOf(id)).toSorted((a, b) => a - b)),
      'the longest due first, in each share',
    );
    assert.deepEqual(shares.flat().toSorted(), ids.toSorted());
  });

  it('have each its own worker and lease duration', async () => {
    await using backend = await startBackend();
    await fillQueue(backend.database, 20);
    const claims = Array.from({ length: 20 }, (_, i) =>
      claimed(backend, { worker: `w${i}`, leaseDuration: { seconds: BigInt(100 + i) } }),
    );
    for (const [i, claim] of claims.entries()) {
      const { worker, acquireTime, expireTime } = (await claim)[0]!.controller!.lease!;
      assert.deepEqual([worker, expireTime!.seconds - acquireTime!.seconds], [`w${i}`, BigInt(100 + i)]);
    }
  });

  it('keep what they were given when others, who wish for something else, are refused by the database', async () => {
    await using backend = await startBackend();
    const { database } = backend;
    await database.query(
      "alter table backup_controllers add constraint no_poison check (format <> 'poison' or status < 800)",
    );
    const formats = ['fine', 'poison', 'good'];
    for (const format of formats) await fillQueue(database, 1, format);
    await using pause = await standstill(database);
    const busy = await pause.occupied(() => claimed(backend, { filter: { format: 'none' } }));
    const claims: Promise<unknown[]>[] = [];
    for (const format of formats) {
      claims.push(claimed(backend, { filter: { format } }));
      await eventually(() => assert.equal(backend.app.admission.calls, 2 + claims.length));
    }
    const refusal = refused(claims[1]!, { code: 'INTERNAL', reason: 'INTERNAL' });
    await pause[Symbol.asyncDispose]();
    await Promise.all(busy);
    assert.deepEqual([(await claims[0]!).length, (await claims[2]!).length], [1, 1]);
    await refusal;
    const runs = await database.query('select format, status, attempt from backup_controllers order by 1');
    assert.deepEqual(
      runs.map(({ format, status, attempt }) => [format, status, attempt]),
      [
        ['fine', 800, 1],
        ['good', 800, 1],
        ['poison', 700, 0],
      ],
    );
  });

  it('take nothing when they are cancelled or their deadline passes before they were given anything', async () => {
    await using backend = await startBackend();
    const { backupId } = await queued(backend);
    for (const by of ['CANCELLED', 'DEADLINE_EXCEEDED'] as const) {
      const cancel = new AbortController();
      await using pause = await standstill(backend.database);
      const options = by === 'CANCELLED' ? { signal: cancel.signal } : { timeoutMs: 1000 };
      const ending = endsWith(backend.controllers.claimControllers({ worker: 'gone' }, options), by);
      await pause.waiting(1);
      cancel.abort();
      await ending;
      await pause.waiting(0);
    }
    const run = await get(backend, backupId);
    assert.deepEqual([run.status, run.attempt, run.lease], [Status.AWAITING, 0, undefined]);
    assert.equal((await claimed(backend))[0]!.controller!.attempt, 1);
  });

  it('give back what they were given too late, with others who are still there', async () => {
    await using backend = await startBackend();
    for (const by of ['CANCELLED', 'DEADLINE_EXCEEDED'] as const) {
      await fillQueue(backend.database, 2, formatOf(by));
      await using together = await oneStatement(backend, by);
      const staying = together.staying();
      await together.leave();
      assert.equal((await staying).length, 1);
      await eventually(async () => {
        const runs = await backend.database.query(
          'select status, attempt, leaseworker, lostattempts, endedat from backup_controllers where format = $1 order by status',
          [formatOf(by)],
        );
        assert.deepEqual(
          runs.map(({ status, attempt, leaseworker, lostattempts, endedat }) => [
            status,
            attempt,
            leaseworker,
            lostattempts,
            endedat,
          ]),
          [
            [Status.AWAITING, 1, 'gone', 0, '0'],
            [Status.EXECUTING, 1, 'staying', 0, '0'],
          ],
        );
      });
    }
  });

  it('do not bring a run back to the queue that was to be cancelled meanwhile', async () => {
    await using backend = await startBackend();
    await fillQueue(backend.database, 1, formatOf('CANCELLED'));
    const [{ backupid: backupId } = {}] = (await backend.database.query('select backupid from backup_controllers')) as {
      backupid: string;
    }[];
    await using together = await oneStatement(backend, 'CANCELLED');
    const staying = together.staying();
    // Comes between the claim and its undoing: they wait in this order.
    const next = standstill(backend.database);
    await together.leave(2);
    {
      await using second = await next;
      await second.waiting(1);
      await second.query('update backup_controllers set cancelrequestedat = 1 where backupid = $1', [backupId]);
    }
    assert.deepEqual(await staying, []);
    await eventually(async () => {
      const run = await get(backend, backupId!);
      assert.deepEqual([run.status, run.outcome, run.lease], [Status.FINISHED_ERR, 4, undefined]);
    });
  });
});

/** Two claims, of who leaves and of who stays, that wait in the same statement for runs of this format, named by how the first one ends. */
async function oneStatement(backend: Backend, by: 'CANCELLED' | 'DEADLINE_EXCEEDED') {
  const filter = { format: formatOf(by) };
  const cancel = new AbortController();
  const first = await standstill(backend.database);
  const busy = await first.occupied(() => claimed(backend, { filter: { format: 'none' } }));
  const options = by === 'CANCELLED' ? { signal: cancel.signal } : { timeoutMs: 3000 };
  const leaving = endsWith(backend.controllers.claimControllers({ worker: 'gone', filter }, options), by);
  await eventually(() => assert.equal(backend.app.admission.calls, 3));
  const staying = claimed(backend, { worker: 'staying', filter });
  await eventually(() => assert.equal(backend.app.admission.calls, 4));
  const next = standstill(backend.database);
  await first.waiting(3);
  await first[Symbol.asyncDispose]();
  const second = await next;
  await Promise.all(busy);
  await second.waiting(1);
  return {
    staying: () => staying,
    /** The service knows that the one is gone before the statement goes on; so many statements wait then. */
    async leave(waiting = 1) {
      await second.waiting(waiting);
      cancel.abort();
      await leaving;
      await eventually(() => assert.equal(backend.app.admission.calls, 1));
      await second[Symbol.asyncDispose]();
    },
    [Symbol.asyncDispose]: () => second[Symbol.asyncDispose](),
  };
}

function formatOf(by: string): string {
  return by.slice(0, 4).toLowerCase();
}
