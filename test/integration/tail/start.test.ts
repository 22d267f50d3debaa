import { strict as assert } from 'node:assert';
import { LogLevel } from '../../../src/gen/backup/v1/entry_pb.ts';
import { type Backend, startBackend } from '../../support/backend.ts';
import { refused } from '../../support/status.ts';
import { Subscriber } from '../../support/subscriber.ts';
import { append, newBackup, newBackupId, truthOf } from '../../support/writing.ts';

describe('TailLogs, where it starts and what it leaves out', () => {
  let backend: Backend;
  before(async () => {
    backend = await startBackend({ replicas: 2 });
  });
  after(() => backend[Symbol.asyncDispose]());

  /** What a tail that does not follow delivers. */
  async function history(request: ConstructorParameters<typeof Subscriber>[1]) {
    const subscriber = new Subscriber(backend.replicas[1]!, request);
    assert.equal(await subscriber.done, undefined);
    assert.equal(subscriber.history.end, 'NOT_FOLLOWING');
    return subscriber.history;
  }

  async function numbered(count: number): Promise<string> {
    const backupId = newBackupId();
    await append(
      backend,
      backupId,
      Array.from({ length: count }, (_, i) => `${i + 1}`),
    );
    return backupId;
  }

  it('begins at the beginning, and says first what there is', async () => {
    const backupId = await newBackup(backend);
    await append(backend, backupId, ['one', 'two']);
    const told = await history({ backupIds: [backupId] });
    assert.deepEqual(
      told.events.map(event => event.case),
      ['started', 'entries', 'state', 'caughtUp', 'end'],
    );
    const [started] = told.all('started');
    assert.deepEqual(
      started!.heads.map(({ backupId, firstId, lastId, sealedId }) => [backupId, firstId, lastId, sealedId]),
      [[backupId, 1n, 2n, undefined]],
    );
    assert.equal(started!.heartbeat?.seconds, 10n);
    assert.equal(started!.maxAge?.seconds, 1800n);
    assert.equal(started!.writeTimeout?.seconds, 60n);
    told.complete(await truthOf(backend.database, [backupId]));
  });

  it('starts with the last n that match', async () => {
    const backupId = await numbered(5);
    await append(backend, backupId, ['bad'], LogLevel.ERROR);
    await append(backend, backupId, ['7', '8']);
    assert.deepEqual((await history({ backupIds: [backupId], start: { case: 'last', value: 3 } })).messages(), [
      'bad',
      '7',
      '8',
    ]);
    const errors = await history({
      backupIds: [backupId],
      start: { case: 'last', value: 3 },
      maxLevel: LogLevel.ERROR,
    });
    assert.deepEqual(errors.messages(), ['bad']);
    assert.deepEqual(
      (await history({ backupIds: [backupId], start: { case: 'last', value: 100 } })).messages().length,
      8,
    );
    assert.deepEqual((await history({ backupIds: [backupId], start: { case: 'last', value: 0 } })).messages(), []);
  });

  it('starts with the first one written at a time or later', async () => {
    const backupId = newBackupId();
    const at = (seconds: number, nanos = 0) => ({ seconds: BigInt(seconds), nanos });
    await backend.logs.appendLogs({
      backupId,
      entries: [at(100), at(200, 5), at(150), at(300)].map((createTime, i) => ({
        level: LogLevel.INFO,
        message: `${i}`,
        createTime,
      })),
    });
    const since = async (seconds: number, nanos = 0) =>
      (await history({ backupIds: [backupId], start: { case: 'since', value: at(seconds, nanos) } })).messages();
    assert.deepEqual(await since(100), ['0', '1', '2', '3']);
    assert.deepEqual(await since(100, 1), ['1', '2', '3']);
    assert.deepEqual(await since(200, 5), ['1', '2', '3']);
    assert.deepEqual(await since(200, 6), ['3']);
    assert.deepEqual(await since(301), []);
  });

  it('starts after an id', async () => {
    const backupId = await numbered(5);
    const startingAfter = async (value: bigint) =>
      (await history({ backupIds: [backupId], start: { case: 'afterId', value } })).messages();
    assert.deepEqual(await startingAfter(0n), ['1', '2', '3', '4', '5']);
    assert.deepEqual(await startingAfter(3n), ['4', '5']);
    assert.deepEqual(await startingAfter(5n), []);
    const beyond = new Subscriber(backend, { backupIds: [backupId], start: { case: 'afterId', value: 6n } });
    await refused(beyond.over(), { code: 'ABORTED', reason: 'HISTORY_DIVERGED' });
  });

  it('continues after every token that it ever sent', async () => {
    const backupId = newBackupId();
    const level = (i: number) => (i % 3 ? LogLevel.DEBUG : LogLevel.WARNING);
    const entries = Array.from({ length: 2500 }, (_, i) => ({ level: level(i), message: `${i}` }));
    for (let i = 0; i < entries.length; i += 500)
      await backend.logs.appendLogs({ backupId, entries: entries.slice(i, i + 500) });
    for (const maxLevel of [LogLevel.UNSPECIFIED, LogLevel.WARNING]) {
      const whole = await history({ backupIds: [backupId], maxLevel });
      whole.complete(await truthOf(backend.database, [backupId]));
      let delivered = 0;
      let tokens = 0;
      for (const event of whole.events) {
        if (event.case === 'entries') delivered += event.value.entries.length;
        if (!event.value || !('resumeToken' in event.value)) continue;
        const rest = await history({
          backupIds: [backupId],
          maxLevel,
          start: { case: 'resumeToken', value: event.value.resumeToken },
        });
        assert.deepEqual(rest.messages(), whole.messages().slice(delivered));
        tokens++;
      }
      assert.ok(tokens >= 4, `${tokens} tokens`);
    }
  });

  it('refuses a token that is not one, was altered or does not cover the backups', async () => {
    const backupId = await numbered(1);
    const { token } = await history({ backupIds: [backupId] });
    const altered = `${token.slice(0, 30)}${token[30] === 'A' ? 'B' : 'A'}${token.slice(31)}`;
    for (const [value, backupIds] of [
      ['nonsense', [backupId]],
      [altered, [backupId]],
      [token, [newBackupId()]],
      [token, [backupId, newBackupId()]],
    ] as const) {
      const subscriber = new Subscriber(backend, { backupIds: [...backupIds], start: { case: 'resumeToken', value } });
      await refused(subscriber.over(), {
        code: 'INVALID_ARGUMENT',
        reason: 'RESUME_TOKEN_INVALID',
      });
    }
  });

  it('goes on with some of the backups of a token', async () => {
    const [a, b] = [await numbered(2), await numbered(3)];
    const both = await history({ backupIds: [a, b] });
    await append(backend, a, ['3']);
    await append(backend, b, ['4']);
    const rest = await history({ backupIds: [b], start: { case: 'resumeToken', value: both.token } });
    assert.deepEqual(rest.messages(), ['4']);
  });

  it('leaves out what is more verbose, and moves on nevertheless', async () => {
    const backupId = newBackupId();
    const subscriber = new Subscriber(backend, { backupIds: [backupId], maxLevel: LogLevel.WARNING, follow: true });
    await subscriber.told('caughtUp');
    await append(backend, backupId, ['debug'], LogLevel.DEBUG);
    await append(backend, backupId, ['error'], LogLevel.ERROR);
    await append(backend, backupId, ['info'], LogLevel.INFO);
    await append(backend, backupId, ['warning'], LogLevel.WARNING);
    await subscriber.received(2);
    await subscriber.cancel();
    assert.deepEqual(subscriber.history.messages(), ['error', 'warning']);
    subscriber.history.complete(await truthOf(backend.database, [backupId]));
  });

  it('puts checkpoints where it has looked, also when nothing matches', async () => {
    await using quick = await startBackend({ settings: { TAIL_HEARTBEAT: '50ms' } });
    const backupId = newBackupId();
    await using subscriber = new Subscriber(quick, { backupIds: [backupId], maxLevel: LogLevel.ERROR, follow: true });
    await subscriber.told('checkpoint');
    assert.equal(subscriber.history.all('checkpoint')[0]!.positions[0]!.lastId, 0n);
    assert.deepEqual(
      subscriber.history.events.slice(0, 3).map(event => event.case),
      ['started', 'caughtUp', 'checkpoint'],
    );
    await append(quick, backupId, ['quiet', 'quiet'], LogLevel.INFO);
    const before = subscriber.history.all('checkpoint').length;
    await subscriber.told('checkpoint', before + 2);
    assert.equal(subscriber.history.all('checkpoint').at(-1)!.positions[0]!.lastId, 2n);
    const resumed = subscriber.resume(quick);
    await append(quick, backupId, ['loud'], LogLevel.ERROR);
    await resumed.received(1);
    await resumed.cancel();
  });

  it('says which entries retention has removed, and goes on behind them', async () => {
    const backupId = await numbered(10);
    await backend.database.query('delete from backup_logs where backupid = $1 and id <= 4', [backupId]);
    await backend.database.query('update backup_log_heads set firstid = 5 where backupid = $1', [backupId]);
    const whole = await history({ backupIds: [backupId] });
    assert.deepEqual(
      whole.all('truncated').map(({ fromId, toId }) => [fromId, toId]),
      [[1n, 4n]],
    );
    assert.deepEqual(whole.messages(), ['5', '6', '7', '8', '9', '10']);
    assert.deepEqual(whole.all('started')[0]!.heads[0]!.firstId, 5n);
    const later = await history({ backupIds: [backupId], start: { case: 'afterId', value: 2n } });
    assert.deepEqual(
      later.all('truncated').map(({ fromId, toId }) => [fromId, toId]),
      [[3n, 4n]],
    );
    assert.deepEqual(
      (await history({ backupIds: [backupId], start: { case: 'afterId', value: 4n } })).all('truncated'),
      [],
    );
    const none = { backupIds: [backupId], start: { case: 'last', value: 3 } as const, maxLevel: LogLevel.ERROR };
    assert.deepEqual((await history(none)).all('truncated'), []);
  });

  it('goes on when retention has removed everything up to its position, and no more', async () => {
    const backupId = await numbered(4);
    const { token } = await history({ backupIds: [backupId] });
    await append(backend, backupId, ['5']);
    await backend.database.query('delete from backup_logs where backupid = $1 and id <= 4', [backupId]);
    await backend.database.query('update backup_log_heads set firstid = 5 where backupid = $1', [backupId]);
    const rest = await history({ backupIds: [backupId], start: { case: 'resumeToken', value: token } });
    assert.deepEqual([rest.messages(), rest.all('truncated')], [['5'], []]);
  });

  it('does not go on in silence when the entries that it delivered were lost and their ids given again', async () => {
    const backupId = await numbered(3);
    const { token } = await history({ backupIds: [backupId] });
    const again = () => {
      const subscriber = new Subscriber(backend, {
        backupIds: [backupId],
        start: { case: 'resumeToken', value: token },
      });
      return refused(subscriber.over(), { code: 'ABORTED', reason: 'HISTORY_DIVERGED' });
    };
    await backend.database.query('delete from backup_logs where backupid = $1 and id = 3', [backupId]);
    await backend.database.query('update backup_log_heads set lastid = 2 where backupid = $1', [backupId]);
    await again();
    await append(backend, backupId, ['another third', 'fourth']);
    await again();
  });

  it('proves by every token what was delivered last, also when nothing came after it', async () => {
    const backupId = await numbered(1000);
    await append(backend, backupId, ['1001']);
    const whole = await history({ backupIds: [backupId] });
    await backend.database.query("update backup_logs set message = 'forged' where backupid = $1", [backupId]);
    for (const { resumeToken } of whole.all('entries')) {
      const start = { case: 'resumeToken', value: resumeToken } as const;
      const forged = new Subscriber(backend, { backupIds: [backupId], start, follow: true });
      await refused(forged.over(), { code: 'ABORTED', reason: 'HISTORY_DIVERGED' });
    }
  });

  it('proves a live position before each checkpoint', async () => {
    await using quick = await startBackend({ settings: { TAIL_HEARTBEAT: '50ms' } });
    const backupId = newBackupId();
    await append(quick, backupId, ['a', 'b']);
    const subscriber = new Subscriber(quick, { backupIds: [backupId], follow: true });
    await subscriber.told('checkpoint', 2);
    await quick.database.query("update backup_logs set message = 'forged' where backupid = $1 and id = 2", [backupId]);
    await refused(subscriber.over(), { code: 'ABORTED', reason: 'HISTORY_DIVERGED' });
  });

  it('takes a log with gigantic entries page by page', async () => {
    const backupId = newBackupId();
    const large = 'x'.repeat(1024 * 1024);
    for (let i = 0; i < 6; i++) await append(backend, backupId, [`${i}${large.slice(1)}`, 'small']);
    const told = await history({ backupIds: [backupId] });
    assert.equal(told.entries.length, 12);
    told.complete(await truthOf(backend.database, [backupId]));
    for (const { entries } of told.all('entries')) {
      assert.ok(entries.length === 1 || entries.reduce((sum, { message }) => sum + message.length, 0) < 200_000);
    }
  });
});
