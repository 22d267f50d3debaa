import { strict as assert } from 'node:assert';
import { LogLevel } from '../../../src/gen/backup/v1/entry_pb.ts';
import { type Backend, startBackend } from '../../support/backend.ts';
import { newBackupId } from '../../support/writing.ts';

describe('LogService.SummarizeLogs', () => {
  let backend: Backend;
  before(async () => {
    backend = await startBackend();
  });
  after(() => backend[Symbol.asyncDispose]());

  const at = (seconds: number, nanos = 0) => ({ seconds: BigInt(seconds), nanos });
  const write = (backupId: string, ...entries: [LogLevel, number, number?][]) =>
    backend.logs.appendLogs({
      backupId,
      entries: entries.map(([level, seconds, nanos]) => ({ level, message: 'x', createTime: at(seconds, nanos) })),
    });
  const summary = async (request: object) => {
    const { total, levels, logs, firstTime, lastTime } = await backend.logs.summarizeLogs(request);
    return {
      counts: [total, ...levels.map(({ count }) => count)],
      levels: levels.map(({ level }) => level),
      logs,
      times: [firstTime, lastTime].map(time => time && [time.seconds, time.nanos]),
    };
  };

  it('counts by level, from the first time to the last', async () => {
    const backupId = newBackupId();
    await write(
      backupId,
      [LogLevel.INFO, 30, 5],
      [LogLevel.ERROR, 10, 7],
      [LogLevel.INFO, 20],
      [LogLevel.DEBUG, 30, 6],
    );
    await write(newBackupId(), [LogLevel.ERROR, 1]);
    const { ERROR, WARNING, INFO, DEBUG } = LogLevel;
    assert.deepEqual(await summary({ backupId }), {
      counts: [4n, 1n, 0n, 2n, 1n],
      levels: [ERROR, WARNING, INFO, DEBUG],
      logs: 1n,
      times: [
        [10n, 7],
        [30n, 6],
      ],
    });
  });

  it('knows the first and the last time to the nanosecond, whatever century they are of', async () => {
    const [first, last] = [253_402_300_798, 253_402_300_799];
    for (const seconds of [
      [8_999_999_999, 9_000_000_000],
      [0, last],
      [first, last],
    ] as const) {
      const backupId = newBackupId();
      await write(
        backupId,
        [LogLevel.INFO, seconds[1], 2],
        [LogLevel.INFO, seconds[0], 1],
        [LogLevel.INFO, seconds[0], 2],
      );
      const { times } = await summary({ backupId });
      assert.deepEqual(times, [
        [BigInt(seconds[0]), 1],
        [BigInt(seconds[1]), 2],
      ]);
    }
  });

  it('counts within a window to the nanosecond, closed at its start and open at its end', async () => {
    const backupId = newBackupId();
    await write(backupId, ...[4, 5, 6, 7].map(nanos => [LogLevel.INFO, 30, nanos] as [LogLevel, number, number]));
    const window = { start: at(30, 5), end: at(30, 7) };
    const { counts, times } = await summary({ backupId, window });
    assert.deepEqual(
      [counts[0], times],
      [
        2n,
        [
          [30n, 5],
          [30n, 6],
        ],
      ],
    );
  });

  it('finds nothing in a log that is not there', async () => {
    const { counts, logs, times } = await summary({ backupId: newBackupId() });
    assert.deepEqual([counts, logs, times], [[0n, 0n, 0n, 0n, 0n], 0n, [undefined, undefined]]);
  });

  it('counts the logs of all controllers that match a filter, however many there are', async () => {
    await backend.database.query(
      `insert into backup_controllers (backupid, type, itemid, format, interactive, purpose, userid, status, execution)
       select md5('s' || i), 'course', 77, 'moodle2', 0, 10, 1, 700, 1 from generate_series(1, 2500) i`,
    );
    await backend.database.query(
      `insert into backup_logs (backupid, id, loglevel, message, created_at)
       select md5('s' || i), n, 10 + 10 * n, 'x', i from generate_series(1, 2500, 2) i, generate_series(1, 2) n`,
    );
    const { counts, logs, times } = await summary({ filter: { itemId: 77n } });
    assert.deepEqual([counts, logs], [[2500n, 1250n, 1250n, 0n, 0n], 1250n]);
    assert.deepEqual(times, [
      [1n, 0],
      [2499n, 0],
    ]);
    assert.deepEqual((await summary({ filter: { itemId: 78n } })).counts[0], 0n);
  });
});
