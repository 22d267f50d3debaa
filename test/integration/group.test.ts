import { strict as assert } from 'node:assert';
import { randomUUID } from 'node:crypto';
import pg from 'pg';
import { LogLevel } from '../../src/gen/backup/v1/entry_pb.ts';
import { type Backend, startBackend } from '../support/backend.ts';
import { engine } from '../support/database.ts';
import { eventually } from '../support/eventually.ts';
import { endsWith, refused } from '../support/status.ts';
import { countWaiting } from '../support/waiting.ts';
import { newBackupId } from '../support/writing.ts';
import { held, type Lease } from './work/work.ts';

type Call = Partial<Lease> & { lines: string[]; requestId?: string; at?: { seconds: bigint; nanos: number } };

describe('Appends that come at the same time', () => {
  let backend: Backend;
  beforeEach(async () => {
    backend = await startBackend();
  });
  afterEach(() => backend[Symbol.asyncDispose]());

  const send = ({ backupId = inLane(), lines, at, ...more }: Call) =>
    backend.logs.appendLogs({
      backupId,
      ...more,
      entries: lines.map(message => ({ level: LogLevel.INFO, message, ...(at && { createTime: at }) })),
    });
  const idsOf = async (call: ReturnType<typeof send>) => {
    const { firstId, lastId } = await call;
    return [firstId, lastId];
  };
  const logOf = async (backupId: string) => {
    const rows = await backend.database.query(
      'select id::int, message, attempt from backup_logs where backupid = $1 order by id',
      [backupId],
    );
    return rows.map(({ id, message, attempt }) => `${id} ${message}${attempt ? ` (attempt ${attempt})` : ''}`);
  };

  it('share a commit, and each has an answer of its own', async () => {
    const [mine, other] = [inLane(), inLane()];
    const lease = await held(backend, { run: { backupId: inLane() } });
    const [first, second] = [randomUUID(), randomUUID()];
    await send({ backupId: other, lines: ['before'], requestId: first });
    const commits = await countCommits();
    const { answers } = await together([
      { backupId: mine, lines: ['a'] },
      { ...lease, lines: ['b', 'c'] },
      { ...lease, leaseToken: randomUUID(), lines: ['not mine'] },
      { backupId: mine, lines: ['d', 'e'], requestId: second },
      { ...lease, lines: ['f'] },
      { backupId: lease.backupId, lines: ['free'] },
    ]);
    const [a, bc, lost, de, f, free] = answers as [Answer, Answer, Answer, Answer, Answer, Answer];
    await refused(lost, { code: 'FAILED_PRECONDITION', reason: 'LEASE_LOST' });
    assert.deepEqual(await Promise.all([a, de].map(idsOf)), [
      [1n, 1n],
      [2n, 3n],
    ]);
    assert.deepEqual(await Promise.all([bc, f, free].map(idsOf)), [
      [1n, 2n],
      [3n, 3n],
      [4n, 4n],
    ]);
    assert.deepEqual(await logOf(mine), ['1 a', '2 d', '3 e']);
    assert.deepEqual(await logOf(lease.backupId), ['1 b (attempt 1)', '2 c (attempt 1)', '3 f (attempt 1)', '4 free']);
    await sharedSince(commits);
    assert.deepEqual(await idsOf(send({ backupId: mine, lines: ['d', 'e'], requestId: second })), [2n, 3n]);
    assert.deepEqual(await logOf(mine), ['1 a', '2 d', '3 e']);
  });

  it('keep their places when they ask for nothing but to be kept, whatever logs they are for', async () => {
    const [mine, other, third] = [inLane(), inLane(), inLane()].toSorted().toReversed() as [string, string, string];
    await send({ backupId: other, lines: ['before'] });
    const commits = await countCommits();
    const at = { seconds: 1_700_000_000n, nanos: 5 };
    const { answers } = await together([
      { backupId: mine, lines: ['a', 'b', 'c'] },
      { backupId: other, lines: ['d'] },
      { backupId: mine, lines: ['e', 'f'] },
      { backupId: third, lines: ['g', 'h'], at },
      { backupId: other, lines: ['i', 'j'] },
      { backupId: mine, lines: ['k'] },
    ]);
    assert.deepEqual(await Promise.all(answers.map(idsOf)), [
      [1n, 3n],
      [2n, 2n],
      [4n, 5n],
      [1n, 2n],
      [3n, 4n],
      [6n, 6n],
    ]);
    assert.deepEqual(await logOf(mine), ['1 a', '2 b', '3 c', '4 e', '5 f', '6 k']);
    assert.deepEqual(await logOf(other), ['1 before', '2 d', '3 i', '4 j']);
    assert.deepEqual(await logOf(third), ['1 g', '2 h']);
    await sharedSince(commits);
    const times = await backend.database.query(
      `select distinct e.created_at = 1700000000 and e.created_nanos = 5 as given,
              coalesce(e.appended_micros, e.created_at * 1000000 + e.created_nanos / 1000) = h.lastmicros as last
       from backup_logs e join backup_log_heads h using (backupid) where backupid in ($1, $2) and ($3 or e.id = h.lastid) order by 1`,
      // Each commit has a time of its own.
      [mine, third, engine !== 'citus'],
    );
    assert.deepEqual(times, [
      { given: false, last: true },
      { given: true, last: true },
    ]);
  });

  it('share a commit when they are to the same log, under the same lease if under any', async () => {
    const mine = inLane();
    const lease = await held(backend, { run: { backupId: inLane() } });
    const ids = ({ answers }: { answers: Answer[] }) => Promise.all(answers.map(idsOf));
    const free = await ids(await together(['a', 'b', 'c'].map(line => ({ backupId: mine, lines: [line, line] }))));
    const leased = await ids(await together(['d', 'e', 'f'].map(line => ({ ...lease, lines: [line, line] }))));
    for (const answers of [free, leased])
      assert.deepEqual(answers, [
        [1n, 2n],
        [3n, 4n],
        [5n, 6n],
      ]);
    assert.deepEqual(await logOf(mine), ['1 a', '2 a', '3 b', '4 b', '5 c', '6 c']);
    assert.deepEqual(
      (await logOf(lease.backupId)).map(line => line.slice(0, 3)),
      ['1 d', '2 d', '3 e', '4 e', '5 f', '6 f'],
    );
    for (const backupId of [mine, lease.backupId]) assert.equal(await countCommits(backupId), 1);
  });

  it('do not fail with one of them: the same request again, or what the database refuses', async () => {
    await backend.database.query("alter table backup_logs add constraint no_poison check (message <> 'poison')");
    const [mine, other] = [inLane(), inLane()];
    const requestId = randomUUID();
    await send({ backupId: other, lines: ['once'], requestId });
    const { answers } = await together([
      { backupId: mine, lines: ['a'] },
      { backupId: other, lines: ['once'], requestId },
      { backupId: mine, lines: ['b', 'poison'] },
      { backupId: other, lines: ['else'], requestId },
      { backupId: mine, lines: ['c'] },
    ]);
    const [a, again, poison, reused, c] = answers as [Answer, Answer, Answer, Answer, Answer];
    await refused(poison, { code: 'INTERNAL', reason: 'INTERNAL' });
    await refused(reused, { code: 'INVALID_ARGUMENT', reason: 'REQUEST_ID_REUSED' });
    assert.deepEqual(await Promise.all([a, again, c].map(idsOf)), [
      [1n, 1n],
      [1n, 1n],
      [2n, 2n],
    ]);
    assert.deepEqual([await logOf(mine), await logOf(other)], [['1 a', '2 c'], ['1 once']]);
  });

  it('keep the order in which a caller has sent them', async () => {
    const ids = [newBackupId(), newBackupId(), newBackupId()];
    const calls = Array.from({ length: 600 }, (_, i) => send({ backupId: ids[i % 3]!, lines: [`line ${i}`] }));
    await Promise.all(calls);
    for (const [k, backupId] of ids.entries()) {
      const expected = Array.from({ length: 200 }, (_, i) => `${i + 1} line ${3 * i + k}`);
      assert.deepEqual(await logOf(backupId), expected);
    }
  });

  it('are refused when more waits than is allowed, and those that were taken are kept', async () => {
    await using small = await startBackend({ settings: { APPEND_QUEUE_BYTES: '10000' } });
    const backupId = newBackupId();
    const line = (n: number) =>
      small.logs.appendLogs({ backupId, entries: [{ level: 40, message: `${n}`.repeat(2000) }] });
    const lock = new pg.Client({ connectionString: small.database.url });
    await lock.connect();
    await lock.query('begin; lock table backup_log_heads in exclusive mode');
    const taken = [1, 2, 3, 4].map(line);
    await eventually(() => assert.equal(small.app.admission.calls, 4));
    const { retry } = await refused(line(5), { code: 'RESOURCE_EXHAUSTED', reason: 'OVERLOADED' });
    assert.equal(retry?.retryDelay?.seconds, 1n);
    await lock.query('commit');
    await lock.end();
    assert.deepEqual(
      (await Promise.all(taken)).map(({ lastId }) => lastId),
      [1n, 2n, 3n, 4n],
    );
    assert.equal((await line(6)).lastId, 5n);
    const huge = await small.logs.appendLogs({ backupId, entries: [{ level: 40, message: 'x'.repeat(50_000) }] });
    assert.equal(huge.lastId, 6n, 'one that is larger is taken when nothing else waits');
  });

  describe('and have to wait for a lock on one of the logs', () => {
    const late = { code: 'DEADLINE_EXCEEDED', reason: 'DEADLINE_EXCEEDED' } as const;
    let hasty: Backend;
    let lock: pg.Client;
    const [stuck, other, last] = [inLane(), inLane(), inLane()];
    const line = (backupId: string, options = {}) =>
      hasty.logs.appendLogs({ backupId, entries: [{ level: LogLevel.INFO, message: 'x' }] }, options);
    beforeEach(async () => {
      hasty = await startBackend({ settings: { CALL_TIMEOUT: '3s' } });
      await line(stuck);
      lock = new pg.Client({ connectionString: hasty.database.url });
      await lock.connect();
      await lock.query('begin');
      await lock.query('select from backup_log_heads where backupid = $1 for update', [stuck]);
    });
    afterEach(() => hasty[Symbol.asyncDispose]());

    it('are not written when their callers have left before their turn', async () => {
      const blocked = line(stuck);
      await waits(hasty);
      const waiting = [line(stuck, { timeoutMs: 300 }), line(other, { timeoutMs: 300 })];
      await Promise.all(waiting.map(call => endsWith(call, 'DEADLINE_EXCEEDED')));
      await refused(blocked, late);
      await onlyTheLast();
    });

    it('are not tried again one by one when it takes too long: nobody waits for them any more', async () => {
      await Promise.all([line(stuck), line(other)].map(call => refused(call, late)));
      await onlyTheLast();
    });

    /** The way is free: what comes now is written, and nothing of what was too late. */
    async function onlyTheLast(): Promise<void> {
      // On Citus whoever has asked is answered before the node of the log has heard that it is not waited for.
      await eventually(async () => assert.equal(await countWaiting(hasty.database), 0));
      await lock.query('commit');
      await lock.end();
      assert.equal((await line(last)).lastId, 1n);
      const rows = await hasty.database.query('select backupid from backup_logs order by 1');
      assert.deepEqual(
        rows.map(({ backupid }) => backupid),
        [stuck, last].toSorted(),
      );
    }
  });

  type Answer = ReturnType<typeof send>;

  /** Sends these while another one is under way, so that they go together. */
  async function together(calls: Call[]): Promise<{ answers: Answer[] }> {
    const lock = new pg.Client({ connectionString: backend.database.url });
    await lock.connect();
    await lock.query('begin; lock table backup_log_heads in exclusive mode');
    const busy = send({ lines: ['under way'] });
    await waits(backend);
    const answers: Answer[] = [];
    for (const call of calls) {
      answers.push(send(call));
      // Who awaits them is not there yet.
      answers.at(-1)!.catch(() => {});
      await eventually(() => assert.equal(backend.app.admission.calls, 1 + answers.length));
    }
    await lock.query('commit');
    await lock.end();
    await busy;
    return { answers };
  }

  /** Until a statement waits for a lock. */
  function waits({ database }: Backend): Promise<void> {
    return eventually(async () => assert.ok((await countWaiting(database)) > 0));
  }

  /** On Citus only what is for the same log is joined: a commit that spans shards costs more than it saves, and they would lock each other's. */
  async function sharedSince(commits: number): Promise<void> {
    if (engine === 'citus') return;
    assert.equal((await countCommits()) - commits, 2, 'that of the one that was under way, and one for all others');
  }

  /** Transactions that have written to logs, or to this one. */
  async function countCommits(backupId?: string): Promise<number> {
    const [row] = await backend.database.query(
      `select count(distinct xmin::text)::int as n from backup_logs ${backupId ? `where backupid = '${backupId}'` : ''}`,
    );
    return row!['n'] as number;
  }
});

/** Of those that go one after another. */
function inLane(): string {
  return `${newBackupId().slice(0, 30)}00`;
}
