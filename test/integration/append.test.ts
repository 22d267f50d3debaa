import { strict as assert } from 'node:assert';
import { randomUUID } from 'node:crypto';
import { LogLevel } from '../../src/gen/backup/v1/entry_pb.ts';
import { type Backend, startBackend } from '../support/backend.ts';
import { refused } from '../support/status.ts';
import { append, finish, newBackup, newBackupId, truthOf } from '../support/writing.ts';
import { held } from './work/work.ts';

describe('LogService.AppendLogs', () => {
  let backend: Backend;
  before(async () => {
    backend = await startBackend({ replicas: 2 });
  });
  after(() => backend[Symbol.asyncDispose]());

  it('numbers the entries of a backup from 1 without a gap, and each backup for itself', async () => {
    const [a, b] = [newBackupId(), newBackupId()];
    const ids = async (backupId: string, count: number) => {
      const { firstId, lastId, dropped } = await append(backend, backupId, Array(count).fill('x'));
      return [firstId, lastId, dropped];
    };
    assert.deepEqual(await ids(a, 1), [1n, 1n, 0]);
    assert.deepEqual(await ids(b, 1000), [1n, 1000n, 0]);
    assert.deepEqual(await ids(a, 3), [2n, 4n, 0]);
  });

  it('keeps every text as it is', async () => {
    const backupId = newBackupId();
    const texts = [
      '',
      ' ',
      'line\nbreak\r\n\ttab',
      'é漢字🎒',
      "'; drop table backup_logs; --",
      '%_\\',
      '\u0001\u007f\ufeff',
      'x'.repeat(1024 * 1024),
    ];
    await append(backend, backupId, texts);
    assert.deepEqual(
      (await truthOf(backend.database, [backupId])).map(row => row.message),
      texts,
    );
  });

  it("keeps the writer's time to the nanosecond, and otherwise gives the database's, which never goes back", async () => {
    const backupId = newBackupId();
    const createTime = { seconds: 253402300799n, nanos: 999_999_999 };
    await backend.logs.appendLogs({
      backupId,
      entries: [
        { level: LogLevel.INFO, message: 'late', createTime },
        { level: LogLevel.INFO, message: 'epoch', createTime: { seconds: 0n, nanos: 0 } },
        { level: LogLevel.INFO, message: 'now' },
      ],
    });
    await backend.database.query(
      'update backup_log_heads set lastmicros = lastmicros + 3600000000 where backupid = $1',
      [backupId],
    );
    await append(backend, backupId, ['an hour on']);
    await append(backend, backupId, ['not before']);
    const { entries } = await backend.logs.listLogs({ backupId });
    const times = entries.map(entry => entry.createTime!);
    assert.deepEqual([times[0]!.seconds, times[0]!.nanos], [createTime.seconds, createTime.nanos]);
    assert.deepEqual([times[1]!.seconds, times[1]!.nanos], [0n, 0]);
    const [now] = await backend.database.query('select extract(epoch from now())::float8 as now');
    assert.ok(Math.abs(Number(times[2]!.seconds) - Number(now!['now'])) < 60);
    assert.deepEqual(times[4], times[3]);
    assert.ok(times[3]!.seconds >= times[2]!.seconds + 3600n);
  });

  it('appends once for a request id, however often it is sent, and answers the same', async () => {
    const backupId = newBackupId();
    const request = { backupId, requestId: randomUUID(), entries: [{ level: LogLevel.INFO, message: 'once' }] };
    const answers = await Promise.all(
      Array.from({ length: 20 }, (_, i) => backend.replicas[i % 2]!.logs.appendLogs(request)),
    );
    await append(backend, backupId, ['another']);
    answers.push(await backend.logs.appendLogs(request));
    for (const { firstId, lastId, dropped } of answers) assert.deepEqual([firstId, lastId, dropped], [1n, 1n, 0]);
    assert.deepEqual(
      (await truthOf(backend.database, [backupId])).map(row => [row.id, row.message]),
      [
        ['1', 'once'],
        ['2', 'another'],
      ],
    );
    const [head] = await backend.database.query('select lastid from backup_log_heads where backupid = $1', [backupId]);
    assert.equal(head!['lastid'], '2');
  });

  it('refuses a request id with other content, and takes it for another backup', async () => {
    const request = {
      backupId: newBackupId(),
      requestId: randomUUID(),
      entries: [{ level: LogLevel.INFO, message: 'a' }],
    };
    await backend.logs.appendLogs(request);
    const other = { ...request, entries: [{ level: LogLevel.INFO, message: 'b' }] };
    await refused(backend.logs.appendLogs(other), { code: 'INVALID_ARGUMENT', reason: 'REQUEST_ID_REUSED' });
    assert.equal((await truthOf(backend.database, [request.backupId])).length, 1);
    assert.equal((await backend.logs.appendLogs({ ...other, backupId: newBackupId() })).firstId, 1n);
  });

  it('accepts entries before the controller exists and after the seal', async () => {
    const backupId = newBackupId();
    await append(backend, backupId, ['early']);
    await newBackup(backend, backupId);
    await finish(backend, backupId);
    const late = await append(backend, backupId, ['late']);
    assert.equal(late.lastId, 2n);
    const [head] = await backend.database.query('select lastid, sealedid from backup_log_heads where backupid = $1', [
      backupId,
    ]);
    assert.deepEqual(head, { lastid: '2', sealedid: '1' });
  });

  it('keeps all entries of a call or none', async () => {
    const backupId = newBackupId();
    const entries = [
      { level: LogLevel.INFO, message: 'fine' },
      { level: LogLevel.INFO, message: 'not\0fine' },
    ];
    await refused(backend.logs.appendLogs({ backupId, entries }), {
      code: 'INVALID_ARGUMENT',
      reason: 'INVALID_FIELD',
      field: 'entries[1].message',
    });
    assert.deepEqual(await truthOf(backend.database, [backupId]), []);
    assert.deepEqual((await append(backend, backupId, ['first'])).firstId, 1n);
  });

  it('refuses a message above the limit, in bytes and not in characters', async () => {
    await using small = await startBackend({ settings: { LOG_MAX_MESSAGE_BYTES: '10' } });
    const backupId = newBackupId();
    await append(small, backupId, ['0123456789', 'ééééé']);
    for (const message of ['01234567890', 'éééééé']) {
      await refused(append(small, backupId, ['ok', message]), {
        code: 'INVALID_ARGUMENT',
        reason: 'INVALID_FIELD',
        field: 'entries[1].message',
      });
    }
  });

  it('drops what is more verbose than the service keeps, and says how many', async () => {
    await using terse = await startBackend({ settings: { LOG_KEEP_LEVEL: 'warning' } });
    const backupId = newBackupId();
    const levels = [LogLevel.DEBUG, LogLevel.WARNING, LogLevel.INFO, LogLevel.ERROR];
    const request = {
      backupId,
      requestId: randomUUID(),
      entries: levels.map(level => ({ level, message: `${level}` })),
    };
    for (let i = 0; i < 2; i++) {
      const { firstId, lastId, dropped } = await terse.logs.appendLogs(request);
      assert.deepEqual([firstId, lastId, dropped], [1n, 2n, 2]);
    }
    const { firstId, lastId, dropped } = await append(terse, backupId, ['a', 'b'], LogLevel.DEBUG);
    assert.deepEqual([firstId, lastId, dropped], [0n, 0n, 2]);
    assert.deepEqual(
      (await truthOf(terse.database, [backupId])).map(row => row.message),
      ['30', '20'],
    );
  });

  it('takes entries of a worker while it holds the lease, as those of its attempt, and gives back ids that are refused', async () => {
    const lease = await held(backend);
    const { backupId } = lease;
    const entries = [{ level: LogLevel.INFO, message: 'a' }];
    const lost = { code: 'FAILED_PRECONDITION', reason: 'LEASE_LOST' } as const;
    const appended = await backend.logs.appendLogs({ ...lease, entries });
    assert.deepEqual([appended.firstId, appended.lastId], [1n, 1n]);
    for (const requestId of ['', randomUUID()]) {
      const stranger = { backupId, leaseToken: randomUUID(), entries, requestId };
      await refused(backend.logs.appendLogs(stranger), lost);
      // Without a controller nobody holds it, although its log may begin.
      await refused(backend.logs.appendLogs({ ...stranger, backupId: newBackupId() }), lost);
    }
    assert.equal((await append(backend, backupId, ['b'])).firstId, 2n);
    const { entries: kept } = await backend.logs.listLogs({ backupId });
    assert.deepEqual(
      kept.map(({ message, attempt }) => [message, attempt]),
      [
        ['a', 1],
        ['b', 0],
      ],
    );
    await backend.controllers.releaseController(lease);
    await refused(backend.logs.appendLogs({ ...lease, entries }), lost);
  });

  it('gives ids back when an append fails in the database', async () => {
    const backupId = newBackupId();
    await backend.database.query('alter table backup_logs add constraint no_poison check (message <> $$poison$$)');
    await refused(append(backend, backupId, ['a', 'poison']), { code: 'INTERNAL', reason: 'INTERNAL' });
    assert.equal((await append(backend, backupId, ['b'])).firstId, 1n);
  });
});
