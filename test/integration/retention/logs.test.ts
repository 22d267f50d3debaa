import assert from 'node:assert/strict';
import { LogLevel } from '../../../src/gen/backup/v1/entry_pb.ts';
import { acceleratorsOff, type Backend, startBackend } from '../../support/backend.ts';
import { engine } from '../../support/database.ts';
import { refused } from '../../support/status.ts';
import { append, newBackupId } from '../../support/writing.ts';
import { idsOf, logContents, putLogs, standing } from './log-rows.ts';
import { DAY, HOUR } from './rows.ts';

const olderThan = { seconds: BigInt(30 * DAY) };
const [OLD, YOUNG] = [40 * DAY, 20 * DAY];

describe('LogService.PurgeLogs', () => {
  let backend: Backend;
  beforeEach(async () => {
    // On Citus a log is some exchanges with its node, and thousands of them may take longer than calls do by default.
    const patient: Record<string, string> = engine === 'citus' ? { CALL_TIMEOUT: '5m' } : {};
    backend = await startBackend({ settings: acceleratorsOff ? patient : { TAIL_POLL: '1h', ...patient } });
  });
  afterEach(() => backend[Symbol.asyncDispose]());

  const put = (...given: Parameters<typeof putLogs>[1][]) => putLogs(backend.database, ...given);

  it('removes what is older, from the front of each log up to the first entry that is not', async () => {
    const ids = await put(
      { ages: [OLD, OLD, YOUNG, OLD, YOUNG], controller: true },
      { ages: [OLD, OLD, HOUR] },
      { ages: [YOUNG, OLD], controller: true },
      { ages: [YOUNG] },
    );
    const answer = await backend.logs.purgeLogs({ olderThan });
    assert.deepEqual([answer.entries, answer.logs, answer.more], [4n, 2n, false]);
    assert.deepEqual(new Set(answer.sampleBackupIds), new Set(ids.slice(0, 2)));
    const left = await Promise.all(ids.map(id => idsOf(backend.database, id)));
    assert.deepEqual(left, [[3, 4, 5], [3], [1, 2], [1]]);
    assert.deepEqual(await standing(backend.database, ids[0]!), ['3..5', 3, 1, 1]);
    const { firstId } = await append(backend, ids[0]!, ['behind']);
    assert.equal(firstId, 6n);
    const page = await backend.logs.listLogs({ backupId: ids[0]! });
    assert.deepEqual(
      page.entries.map(({ id }) => id),
      [3n, 4n, 5n, 6n],
    );
    assert.deepEqual((await backend.logs.purgeLogs({ olderThan })).entries, 0n);
  });

  it('takes the log with the oldest entry first, no more than it may, and says whether there are more', async () => {
    const [a, b, c, d] = await put(
      { ages: [42 * DAY, 41 * DAY, OLD] },
      { ages: [44 * DAY, 43 * DAY, YOUNG] },
      { ages: [45 * DAY, OLD] },
      { ages: [YOUNG] },
    );
    const request = { olderThan, maxEntries: 3 };
    const told = await backend.logs.purgeLogs({ ...request, dryRun: true });
    const first = await backend.logs.purgeLogs(request);
    assert.deepEqual([first.entries, first.logs, first.more, first.sampleBackupIds], [3n, 2n, true, [c, b]]);
    assert.deepEqual(told, first);
    assert.deepEqual(await Promise.all([a, b, c, d].map(id => idsOf(backend.database, id!))), [
      [1, 2, 3],
      [2, 3],
      [],
      [1],
    ]);
    for (const [maxEntries, entries, sample, more] of [
      [1, 1n, [b], true],
      [2, 2n, [a], true],
      [1, 1n, [a], false],
      [1, 0n, [], false],
    ] as const) {
      const dry = await backend.logs.purgeLogs({ olderThan, maxEntries, dryRun: true });
      const answer = await backend.logs.purgeLogs({ olderThan, maxEntries });
      assert.deepEqual([answer.entries, answer.sampleBackupIds, answer.more], [entries, sample, more]);
      assert.deepEqual(dry, answer);
    }
  });

  it('changes nothing in a dry run, and says what it would do', async () => {
    await put(
      { entries: 2500, controller: true },
      { ages: [...Array(20).fill(OLD), YOUNG, OLD] },
      { ages: [-DAY, OLD], appendedAgo: OLD },
      { ages: [], appendedAgo: OLD },
      { ages: [], appendedAgo: YOUNG },
      { ages: [], appendedAgo: OLD, controller: true },
      ...Array.from({ length: 20 }, () => ({ entries: 7 })),
    );
    const before = await logContents(backend.database);
    for (const maxEntries of [1, 2000, 2500, 2501, 2519, 2520, 2521, 2522, 2662, 0]) {
      const told = await backend.logs.purgeLogs({ olderThan, maxEntries, dryRun: true });
      assert.deepEqual(await logContents(backend.database), before);
      if (maxEntries > 0) assert.equal(told.entries, BigInt(Math.min(maxEntries, 2662)));
      if (maxEntries > 0) continue;
      assert.deepEqual([told.entries, told.logs, told.more, told.sampleBackupIds.length], [2662n, 24n, false, 10]);
      assert.deepEqual(await backend.logs.purgeLogs({ olderThan }), told);
    }
  });

  it('takes 100,000 entries in a call that names no number', async () => {
    const [long] = await put({ entries: 100_001, controller: true });
    for (const dryRun of [true, false]) {
      const answer = await backend.logs.purgeLogs({ olderThan, dryRun });
      assert.deepEqual([answer.entries, answer.logs, answer.more], [100_000n, 1n, true]);
    }
    assert.deepEqual(await idsOf(backend.database, long!), [100_001]);
  });

  it('means more than the age by a part of a second, too', async () => {
    const [log] = await put({ ages: [1001], appendedAgo: 0 });
    const aged = 'created_at = floor(extract(epoch from now())) - 1001';
    const counted = async (nanos: number) => {
      // Again, if meanwhile it became a second older.
      for (;;) {
        await backend.database.query(`update backup_logs set ${aged}`);
        const answer = await backend.logs.purgeLogs({ olderThan: { seconds: 1000n, nanos }, dryRun: true });
        if ((await backend.database.query(`select from backup_logs where ${aged}`)).length === 1) return answer.entries;
      }
    };
    assert.equal(await counted(0), 1n);
    assert.equal(await counted(1), 0n);
    assert.deepEqual(await idsOf(backend.database, log!), [1]);
  });

  it('goes by the time that writers give, and lets none in the future keep a log for ever', async () => {
    const backupId = newBackupId();
    const entries = [OLD, OLD, YOUNG, OLD].map(ago => ({
      level: LogLevel.INFO,
      message: 'x',
      createTime: { seconds: BigInt(now() - ago), nanos: 0 },
    }));
    await backend.logs.appendLogs({ backupId, entries });
    const [silent, busy] = await put(
      { ages: [-DAY, OLD, OLD], appendedAgo: OLD, controller: true },
      { ages: [-DAY, OLD, OLD], appendedAgo: HOUR, controller: true },
    );
    const answer = await backend.logs.purgeLogs({ olderThan });
    assert.deepEqual([answer.entries, answer.logs], [5n, 2n]);
    assert.deepEqual(await idsOf(backend.database, backupId), [3, 4]);
    assert.deepEqual(await standing(backend.database, silent!), ['4..3', 0, 1, 1]);
    assert.deepEqual(await idsOf(backend.database, busy!), [1, 2, 3]);
  });

  it('deletes a log without a controller as a whole when nothing is left and nothing was appended for so long', async () => {
    const [gone, empty, fresh, other, run] = await put(
      { entries: 3 },
      { ages: [], appendedAgo: OLD },
      { entries: 3, appendedAgo: HOUR },
      { ages: [], appendedAgo: HOUR },
      { entries: 3, controller: true },
    );
    const answer = await backend.logs.purgeLogs({ olderThan });
    assert.deepEqual([answer.entries, answer.logs], [9n, 4n]);
    for (const id of [gone, empty]) assert.deepEqual(await standing(backend.database, id!), [null, 0, 0, 0]);
    assert.deepEqual(await standing(backend.database, fresh!), ['4..3', 0, 1, 1]);
    assert.deepEqual(await standing(backend.database, other!), ['1..0', 0, 1, 1]);
    assert.deepEqual(await standing(backend.database, run!), ['4..3', 0, 1, 1]);
    assert.equal((await append(backend, gone!, ['anew'])).firstId, 1n);
    assert.equal((await append(backend, fresh!, ['on'])).firstId, 4n);
  });

  it('removes all of a single log, whatever its times, and of no other', async () => {
    const [own, other, run] = await put(
      { ages: [OLD, -DAY, 0] },
      { ages: [OLD] },
      { ages: [OLD, -DAY, 0], controller: true, sealed: true },
    );
    for (const backupId of [own!, run!]) {
      const limited = await backend.logs.purgeLogs({ backupId, maxEntries: 1 });
      assert.deepEqual([limited.entries, limited.more, limited.sampleBackupIds], [1n, true, [backupId]]);
      const dry = await backend.logs.purgeLogs({ backupId, dryRun: true });
      const answer = await backend.logs.purgeLogs({ backupId, olderThan: {} });
      assert.deepEqual([answer.entries, answer.logs, answer.more], [2n, 1n, false]);
      assert.deepEqual(dry, answer);
    }
    assert.deepEqual(await standing(backend.database, own!), [null, 0, 0, 0]);
    assert.deepEqual(await standing(backend.database, run!), ['4..3', 0, 1, 1]);
    assert.deepEqual(await idsOf(backend.database, other!), [1]);
    const absent = await backend.logs.purgeLogs({ backupId: newBackupId() });
    assert.deepEqual([absent.entries, absent.logs, absent.more, absent.sampleBackupIds], [0n, 0n, false, []]);
  });

  it('goes by age in a single log, too', async () => {
    const [own, other] = await put({ ages: [OLD, YOUNG] }, { ages: [OLD] });
    const answer = await backend.logs.purgeLogs({ backupId: own!, olderThan });
    assert.deepEqual([answer.entries, answer.logs], [1n, 1n]);
    assert.deepEqual(await idsOf(backend.database, own!), [2]);
    assert.deepEqual(await idsOf(backend.database, other!), [1]);
  });

  it('wants an age or a log, and refuses what is neither', async () => {
    for (const request of [
      {},
      { olderThan: {} },
      { olderThan: { nanos: 999_999_999 } },
      { olderThan: { seconds: -1n } },
      { olderThan: { seconds: 2n ** 63n - 1n } },
      { olderThan, backupId: `${newBackupId().slice(1)}\0` },
      { olderThan, maxEntries: -1 },
      { olderThan, maxEntries: 1_000_001 },
      { olderThan, requestId: 'once' },
    ]) {
      await refused(backend.logs.purgeLogs(request), { code: 'INVALID_ARGUMENT', reason: 'INVALID_FIELD' });
    }
    const centuries = { seconds: 3_155_760_000n };
    assert.equal((await backend.logs.purgeLogs({ olderThan: centuries })).entries, 0n);
  });

  it('finds old entries among many logs', async () => {
    await backend.database.query(
      `insert into backup_log_heads (backupid, lastid, lastmicros)
       select md5(i::text), 1, extract(epoch from now()) * 1000000 from generate_series(1, 12000) i`,
    );
    await backend.database.query(
      `insert into backup_logs (backupid, id, loglevel, message, created_at)
       select md5(i::text), 1, 40, 'x', extract(epoch from now()) - case when i % 1200 = 0 then $1 else 0 end::bigint
       from generate_series(1, 12000) i`,
      [OLD],
    );
    const told = await backend.logs.purgeLogs({ olderThan, dryRun: true });
    const answer = await backend.logs.purgeLogs({ olderThan });
    assert.deepEqual([answer.entries, answer.logs, answer.more], [10n, 10n, false]);
    assert.deepEqual(told, answer);
    // Of more logs than one call looks at.
    await backend.database.query('update backup_logs set created_at = 1');
    const dry = await backend.logs.purgeLogs({ olderThan, dryRun: true });
    const many = await backend.logs.purgeLogs({ olderThan });
    assert.deepEqual([many.entries, many.logs, many.more], [10_000n, 10_000n, true]);
    assert.deepEqual([dry.entries, dry.logs, dry.more], [10_000n, 10_000n, true]);
  });

  const now = () => Math.floor(Date.now() / 1000);
});
