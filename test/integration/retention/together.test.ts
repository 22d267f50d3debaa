import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';
import { acceleratorsOff, type Backend, startBackend } from '../../support/backend.ts';
import { eventually } from '../../support/eventually.ts';
import { refused } from '../../support/status.ts';
import { Subscriber } from '../../support/subscriber.ts';
import { countWaiting } from '../../support/waiting.ts';
import { append, newBackupId, truthOf } from '../../support/writing.ts';
import { DAY, holding, left, put, rowsOf } from './rows.ts';

const olderThan = { seconds: BigInt(30 * DAY) };
const LOCK_ENTRY = 'select 1 from backup_logs where backupid = $1 and id = $2 for update';

describe('PurgeControllers, while others are at work', () => {
  let backend: Backend;
  beforeEach(async () => {
    backend = await startBackend({ replicas: 2, settings: acceleratorsOff ? {} : { TAIL_POLL: '1h' } });
  });
  afterEach(() => backend[Symbol.asyncDispose]());

  const firstIdOf = async (backupId: string) => {
    const [row] = await backend.database.query('select firstid from backup_log_heads where backupid = $1', [backupId]);
    return row?.['firstid'];
  };

  it('shortens a long log step by step, and tails are told so', async () => {
    const [long] = await put(backend.database, { entries: 35_000 });
    await using held = await holding(backend.database, LOCK_ENTRY, [long, 25_000]);
    const purging = backend.controllers.purgeControllers({ olderThan });
    await eventually(async () => assert.equal(await firstIdOf(long!), '20001'));
    // The third step waits for the entry, and nobody else for that step.
    await append(backend, newBackupId(), ['another backup']);
    await using tail = new Subscriber(backend.replicas[1]!, { backupIds: [long!], follow: true });
    await tail.told('truncated');
    await tail.received(15_000);
    assert.deepEqual([tail.history.all('truncated')[0]!.fromId, tail.history.all('truncated')[0]!.toId], [1n, 20_000n]);
    await held[Symbol.asyncDispose]();
    const answer = await purging;
    assert.deepEqual([answer.controllers, answer.logEntries], [1n, 35_000n]);
    await tail.over();
    assert.equal(tail.history.end, 'DELETED');
    const { backup_removals: _, ...rest } = await rowsOf(backend.database, [long!]);
    assert.deepEqual(new Set(Object.values(rest)), new Set([0]));
  });

  it('lets appends through to other backups and to the one that it deletes, and leaves no entry without a head', async () => {
    const [long] = await put(backend.database, { entries: 50_000 });
    const other = newBackupId();
    let purged = false;
    const purging = backend.controllers.purgeControllers({ olderThan }).finally(() => {
      purged = true;
    });
    const appending = async (backupId: string) => {
      let appended = 0;
      for (; !purged; appended++) await append(backend.replicas[1]!, backupId, ['x']);
      return appended;
    };
    const counts = await Promise.all([appending(long!), appending(other)]);
    assert.ok(Math.min(...counts) >= 2, `only ${counts} appends went through`);
    assert.equal((await purging).controllers, 1n);
    const [after] = [await append(backend, long!, ['after'])];
    const truth = await truthOf(backend.database, [long!]);
    assert.deepEqual(
      truth.map(row => row.id),
      Array.from({ length: Number(after.lastId) }, (_, i) => String(i + 1)),
    );
  });

  it('deletes everything once when several calls run on two replicas', async () => {
    const ids = await put(backend.database, ...Array.from({ length: 600 }, (_, i) => ({ entries: i % 7 })));
    const calls = [0, 1, 0, 1].map(i => backend.replicas[i]!.controllers.purgeControllers({ olderThan }));
    const answers = await Promise.all(calls);
    const total = (pick: (answer: (typeof answers)[0]) => bigint) => answers.reduce((sum, a) => sum + pick(a), 0n);
    assert.equal(
      total(answer => answer.controllers),
      600n,
    );
    assert.equal(
      total(answer => answer.logEntries),
      BigInt(ids.reduce((sum, _, i) => sum + (i % 7), 0)),
    );
    assert.deepEqual(await left(backend.database), []);
    assert.equal((await backend.controllers.purgeControllers({ olderThan })).more, false);
  });

  it('passes over what someone else has locked, without waiting, and says that there is more', async () => {
    const ids = await put(backend.database, { changedAgo: 50 * DAY }, {}, {});
    await using held = await holding(
      backend.database,
      'select 1 from backup_controllers where backupid = $1 for update',
      [ids[0]],
    );
    const answer = await backend.controllers.purgeControllers({ olderThan });
    assert.deepEqual([answer.controllers, answer.more], [2n, true]);
    await held[Symbol.asyncDispose]();
    const rest = await backend.controllers.purgeControllers({ olderThan });
    assert.deepEqual([rest.controllers, rest.more, rest.sampleBackupIds], [1n, false, [ids[0]]]);
  });

  it('leaves alone what was changed or claimed after it was chosen', async () => {
    // More than one batch, the first of which waits for an entry.
    const ids = await put(
      backend.database,
      ...Array.from({ length: 150 }, (_, i) => ({ changedAgo: 90 * DAY - i, entries: i === 0 ? 1 : 0 })),
    );
    await using held = await holding(backend.database, LOCK_ENTRY, [ids[0], 1]);
    const purging = backend.controllers.purgeControllers({ olderThan });
    await waiting();
    const change = 'update backup_controllers set updated_at = floor(extract(epoch from now())) where backupid = $1';
    await backend.database.query(change, [ids[140]]);
    await backend.database.query('update backup_controllers set status = 700 where backupid = $1', [ids[141]]);
    await held[Symbol.asyncDispose]();
    const answer = await purging;
    assert.deepEqual([answer.controllers, answer.more], [148n, false]);
    assert.deepEqual((await left(backend.database)).sort(), [ids[140], ids[141]].sort());
  });

  it('answers a request id once, also when it is sent twice at a time', async () => {
    await put(backend.database, ...Array.from({ length: 250 }, () => ({ entries: 1 })));
    const request = { olderThan, maxControllers: 200, requestId: randomUUID() };
    const calls = Array.from({ length: 12 }, (_, i) => backend.replicas[i % 2]!.controllers.purgeControllers(request));
    const [first, ...others] = await Promise.all(calls);
    assert.deepEqual([first!.controllers, first!.logEntries, first!.more], [200n, 200n, true]);
    for (const other of others) assert.deepEqual(other, first);
    assert.deepEqual(await backend.controllers.purgeControllers(request), first);
    assert.equal((await left(backend.database)).length, 50);
    await refused(backend.controllers.purgeControllers({ ...request, maxControllers: 10 }), {
      code: 'INVALID_ARGUMENT',
      reason: 'REQUEST_ID_REUSED',
    });
  });

  it('goes on where a call was left that had no answer, and keeps what was done', async () => {
    const ids = await put(
      backend.database,
      ...Array.from({ length: 250 }, (_, i) => ({ changedAgo: 90 * DAY - i, entries: i === 150 ? 1 : 0 })),
    );
    const request = { olderThan, requestId: randomUUID() };
    const abort = new AbortController();
    {
      await using _held = await holding(backend.database, LOCK_ENTRY, [ids[150], 1]);
      const lost = backend.controllers.purgeControllers(request, { signal: abort.signal }).catch(error => error);
      await waiting();
      assert.equal((await left(backend.database)).length, 150);
      abort.abort();
      assert.ok((await lost) instanceof Error);
      await eventually(() => assert.equal(backend.app.admission.calls, 0));
    }
    const answer = await backend.controllers.purgeControllers(request);
    // The lost call has done its first batch; the one that it was at has ended with it.
    assert.deepEqual([answer.controllers, answer.more], [150n, false]);
    assert.deepEqual(await left(backend.database), []);
    assert.deepEqual(await backend.controllers.purgeControllers(request), answer);
  });

  it('does not take all connections for itself', async () => {
    await using small = await startBackend({ settings: { DATABASE_POOL_SIZE: '2' } });
    await put(small.database, ...Array.from({ length: 20 }, () => ({})));
    const calls = Array.from({ length: 6 }, () =>
      small.controllers.purgeControllers({ olderThan, requestId: randomUUID() }),
    );
    const answers = await Promise.all(calls);
    assert.equal(
      answers.reduce((sum, answer) => sum + answer.controllers, 0n),
      20n,
    );
  });

  /** Until a statement of the service waits for a lock. */
  async function waiting(): Promise<void> {
    await eventually(async () => assert.equal(await countWaiting(backend.database), 1));
  }
});
