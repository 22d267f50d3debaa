import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';
import pg from 'pg';
import { type Sql, transaction } from '../../../src/db/sql.ts';
import { shortenLogs } from '../../../src/log/shorten.ts';
import { acceleratorsOff, type Backend, startBackend } from '../../support/backend.ts';
import { engine } from '../../support/database.ts';
import { eventually } from '../../support/eventually.ts';
import { locked } from '../../support/locked.ts';
import { refused } from '../../support/status.ts';
import { Subscriber } from '../../support/subscriber.ts';
import { append, newBackupId, writeAll } from '../../support/writing.ts';
import { idsOf, putLogs, standing } from './log-rows.ts';
import { DAY, HOUR } from './rows.ts';

const olderThan = { seconds: BigInt(30 * DAY) };
const OLD = 40 * DAY;

describe('PurgeLogs, while others are at work', () => {
  let backend: Backend;
  beforeEach(async () => {
    // On Citus a log is some exchanges with its node.
    const patient: Record<string, string> = engine === 'citus' ? { CALL_TIMEOUT: '2m' } : {};
    const settings = acceleratorsOff ? patient : { TAIL_POLL: '1h', ...patient };
    backend = await startBackend({ replicas: 2, settings });
  });
  afterEach(() => backend[Symbol.asyncDispose]());

  const put = (...given: Parameters<typeof putLogs>[1][]) => putLogs(backend.database, ...given);
  const lockEntry = (backupId: string, id: number) =>
    locked(backend.database, `select from backup_logs where backupid = '${backupId}' and id = ${id} for update`);

  it('tells tails what is gone before they could be given it', async () => {
    const [log] = await put({ ages: [OLD, OLD, OLD, HOUR, HOUR] });
    await backend.logs.purgeLogs({ olderThan });
    await using tail = new Subscriber(backend.replicas[1]!, { backupIds: [log!], follow: true });
    await tail.told('caughtUp');
    const [truncated] = tail.history.all('truncated');
    assert.deepEqual([truncated!.fromId, truncated!.toId], [1n, 3n]);
    assert.deepEqual(
      tail.history.entries.map(({ id }) => id),
      [4n, 5n],
    );
  });

  it('ends the tails of logs that it deletes, on the other replica too, and lets those of others go on', async () => {
    const [gone, kept, run] = await put(
      { ages: [OLD] },
      { ages: [OLD, HOUR] },
      { ages: [OLD], controller: true, sealed: true },
    );
    const tails = backend.replicas.map(replica => new Subscriber(replica, { backupIds: [gone!], follow: true }));
    await using other = new Subscriber(backend, { backupIds: [kept!, run!], follow: true });
    for (const tail of [...tails, other]) await tail.told('caughtUp');
    assert.equal((await backend.logs.purgeLogs({ olderThan })).entries, 3n);
    for (const tail of tails) {
      await tail.over();
      assert.equal(tail.history.end, 'DELETED');
    }
    await append(backend, kept!, ['on']);
    await other.received(4);
    assert.equal(other.history.entries.at(-1)!.id, 3n);
    assert.deepEqual([other.history.end, other.history.all('truncated')], [undefined, []]);
  });

  it('leaves a finished log its seal: a tail of it is told what is gone and ends', async () => {
    const [all, some] = await put(
      { ages: [OLD, OLD], controller: true, sealed: true },
      { ages: [OLD, HOUR], controller: true, sealed: true },
    );
    await backend.logs.purgeLogs({ olderThan });
    for (const [log, ids] of [
      [all!, []],
      [some!, [2n]],
    ] as const) {
      await using tail = new Subscriber(backend, { backupIds: [log], untilFinished: true });
      await tail.over();
      assert.equal(tail.history.end, 'SEALED');
      assert.equal(tail.history.all('truncated').length, 1);
      assert.deepEqual(
        tail.history.entries.map(({ id }) => id),
        ids,
      );
    }
  });

  it('lets a tail that is in the middle of it go on behind what is removed', async () => {
    const [log] = await put({ ages: [...Array(5000).fill(OLD), HOUR] });
    const tail = new Subscriber(backend, { backupIds: [log!], untilFinished: true });
    await tail.received(1);
    await backend.logs.purgeLogs({ olderThan });
    await eventually(() => assert.equal(tail.history.entries.at(-1)?.id, 5001n));
    const missing = tail.history.all('truncated').reduce((sum, { fromId, toId }) => sum + Number(toId - fromId) + 1, 0);
    assert.equal(tail.history.entries.length + missing, 5001);
    await tail.cancel();
  });

  it('keeps no append waiting, also to the log that it shortens', async () => {
    const [long] = await put({ entries: 6000 });
    const held = await lockEntry(long!, 3000);
    const purging = backend.logs.purgeLogs({ olderThan });
    await held.waited();
    for (let i = 1; i <= 5; i++) {
      const { firstId } = await append(backend.replicas[1]!, long!, ['meanwhile']);
      assert.equal(firstId, BigInt(6000 + i));
    }
    assert.equal((await idsOf(backend.database, long!))[0], 2001, 'the first batch is done, the second one waits');
    await held[Symbol.asyncDispose]();
    const answer = await purging;
    assert.deepEqual([answer.entries, answer.more], [6000n, false]);
    assert.deepEqual(await standing(backend.database, long!), ['6001..6005', 5, 1, 1]);
  });

  it('leaves ids without a gap and nothing behind the head while writers write and all is removed again and again', async () => {
    const logs = [newBackupId(), newBackupId()];
    let writing = true;
    const writers = Promise.all(logs.map((log, i) => writeAll([backend.replicas[i]!], log, 'x', 150, 7))).finally(
      () => {
        writing = false;
      },
    );
    let removed = 0n;
    const purging = backend.replicas.map(async ({ logs: client }) => {
      while (writing) {
        // Without deleting the log: its ids would begin anew. Between two appends there may be more than a second on Citus.
        const seconds = engine === 'citus' ? 60n : 1n;
        const answers = logs.map(backupId => client.purgeLogs({ backupId, olderThan: { seconds } }));
        for (const { entries } of await Promise.all(answers)) removed += entries;
        const aged = 'update backup_logs set created_at = 1 where backupid = any ($1) and id % 10 < 8';
        await backend.database.query(aged, [logs]);
      }
    });
    await Promise.all([writers, ...purging]);
    let left = 0;
    for (const log of logs) {
      const ids = await idsOf(backend.database, log);
      left += ids.length;
      assert.deepEqual((await standing(backend.database, log))[0], `${1051 - ids.length}..1050`);
      assert.deepEqual(
        ids,
        Array.from({ length: ids.length }, (_, i) => 1051 - ids.length + i),
      );
    }
    assert.ok(removed > 0n);
    assert.equal(Number(removed) + left, 2 * 1050);
  });

  it('removes everything once when several calls run on two replicas', async () => {
    const ids = await put(
      { entries: 9000 },
      { entries: 5000, controller: true },
      ...Array.from({ length: 300 }, (_, i) => ({ entries: i % 7 })),
    );
    const calls = [0, 1, 0, 1].map(i => backend.replicas[i]!.logs.purgeLogs({ olderThan }));
    const answers = await Promise.all(calls);
    const entries = answers.reduce((sum, answer) => sum + answer.entries, 0n);
    assert.equal(entries, BigInt(14_000 + ids.slice(2).reduce((sum, _, i) => sum + (i % 7), 0)));
    const heads = await backend.database.query('select backupid from backup_log_heads');
    assert.deepEqual(heads, [{ backupid: ids[1] }]);
    const rest = await backend.logs.purgeLogs({ olderThan });
    assert.deepEqual([rest.entries, rest.logs, rest.more], [0n, 0n, false]);
    assert.deepEqual(await backend.database.query('select from backup_logs'), []);
  });

  it('moves the start of a log never back, though another one has gone on meanwhile', async () => {
    const [log] = await put({ entries: 6000, controller: true });
    const pool = new pg.Pool({ connectionString: backend.database.url });
    const late = await transaction(pool, sql => {
      // Between what it has read and what it removes, the other one removes everything.
      const interrupted: Sql = async statement => {
        if (statement.name === 'log-shorten') await backend.logs.purgeLogs({ olderThan });
        return sql(statement);
      };
      return shortenLogs(interrupted, [{ backupId: log!, entries: 10n }], undefined);
    });
    await pool.end();
    assert.deepEqual(
      late.map(({ old, removed }) => [old, removed]),
      [[10n, 0n]],
    );
    assert.deepEqual(await standing(backend.database, log!), ['6001..6000', 0, 1, 1]);
  });

  it('meets DeleteController on the same logs, and nothing is left of them', async () => {
    const ids = await put(...Array.from({ length: 40 }, () => ({ entries: 500, controller: true })));
    const purging = backend.replicas.map(replica => replica.logs.purgeLogs({ olderThan }));
    const deleting = ids.map((backupId, i) => backend.replicas[i % 2]!.controllers.deleteController({ backupId }));
    const [purged, deleted] = await Promise.all([Promise.all(purging), Promise.all(deleting)]);
    const removed = purged.reduce((sum, { entries }) => sum + entries, 0n);
    const rest = deleted.reduce((sum, { deletedLogEntries }) => sum + deletedLogEntries, 0n);
    assert.equal(removed + rest, 20_000n);
    assert.deepEqual(await backend.database.query('select from backup_logs'), []);
    assert.deepEqual(await backend.database.query('select from backup_log_heads'), []);
  });

  it('answers a request id once, also when it is sent twice at a time', async () => {
    await put(...Array.from({ length: 25 }, () => ({ entries: 10 })));
    const request = { olderThan, maxEntries: 200, requestId: randomUUID() };
    const calls = Array.from({ length: 12 }, (_, i) => backend.replicas[i % 2]!.logs.purgeLogs(request));
    const [first, ...others] = await Promise.all(calls);
    assert.deepEqual([first!.entries, first!.logs, first!.more], [200n, 20n, true]);
    for (const other of others) assert.deepEqual(other, first);
    assert.deepEqual(await backend.logs.purgeLogs(request), first);
    assert.equal((await backend.database.query('select from backup_logs')).length, 50);
    for (const change of [{ maxEntries: 10 }, { dryRun: true }]) {
      await refused(backend.logs.purgeLogs({ ...request, ...change }), {
        code: 'INVALID_ARGUMENT',
        reason: 'REQUEST_ID_REUSED',
      });
    }
  });

  it('keeps what was done when a call is cancelled, and goes on from there when it is sent again', async () => {
    const [long] = await put({ entries: 6000 });
    const request = { olderThan, requestId: randomUUID() };
    const held = await lockEntry(long!, 3000);
    const abort = new AbortController();
    const lost = backend.logs.purgeLogs(request, { signal: abort.signal }).catch(error => error);
    await held.waited();
    abort.abort();
    assert.ok((await lost) instanceof Error);
    await eventually(() => assert.equal(backend.app.admission.calls, 0));
    await held[Symbol.asyncDispose]();
    // The lost call has done its first batch; the one that it was at has ended with it.
    assert.equal((await idsOf(backend.database, long!)).length, 4000);
    const answer = await backend.logs.purgeLogs(request);
    assert.deepEqual([answer.entries, answer.more], [4000n, false]);
    assert.deepEqual(await backend.logs.purgeLogs(request), answer);
  });

  it('does not take all connections for itself', async () => {
    await using small = await startBackend({ settings: { DATABASE_POOL_SIZE: '2' } });
    await putLogs(small.database, ...Array.from({ length: 20 }, () => ({ entries: 1, controller: true })));
    const purges = Array.from({ length: 6 }, () => small.logs.purgeLogs({ olderThan, requestId: randomUUID() }));
    const others = Array.from({ length: 6 }, () =>
      small.controllers.purgeControllers({ olderThan, requestId: randomUUID() }),
    );
    const answers = await Promise.all(purges);
    await Promise.all(others);
    assert.equal(
      answers.reduce((sum, answer) => sum + answer.entries, 0n),
      20n,
    );
  });
});
