import { strict as assert } from 'node:assert';
import type { MessageInitShape } from '@bufbuild/protobuf';
import { Operation, Purpose, Type } from '../../../src/gen/backup/v1/controller_pb.ts';
import { LogLevel } from '../../../src/gen/backup/v1/entry_pb.ts';
import type { TailFilterSchema } from '../../../src/gen/backup/v1/log_pb.ts';
import { type Backend, startBackend, startReplica } from '../../support/backend.ts';
import { eventually } from '../../support/eventually.ts';
import { History } from '../../support/history.ts';
import { refused } from '../../support/status.ts';
import { Subscriber } from '../../support/subscriber.ts';
import { append, newBackupId, truthOf, writeAll } from '../../support/writing.ts';

/** What becomes visible may be ten seconds old: so long does a tail keep positions of logs that grow no more. */
const settings = { CALL_TIMEOUT: '5s', TAIL_POLL: '100ms', TAIL_HEARTBEAT: '100ms' };

describe('TailLogs of everything', () => {
  let backend: Backend;
  beforeEach(async () => {
    backend = await startBackend({ replicas: 2, settings });
  });
  afterEach(() => backend[Symbol.asyncDispose]());

  const tail = (start?: ConstructorParameters<typeof Subscriber>[1]['start'], follow = true) =>
    new Subscriber(backend.replicas[1]!, { everything: true, follow, ...(start && { start }) });

  it('delivers what is there and then what comes, in whichever log and on whichever replica', async () => {
    const old = Array.from({ length: 30 }, newBackupId);
    for (const backupId of old) await append(backend, backupId, ['a', 'b', 'c']);
    const subscriber = tail();
    await subscriber.told('caughtUp');
    assert.equal(subscriber.history.entries.length, 90);
    const fresh = Array.from({ length: 20 }, newBackupId);
    const ids = [...old, ...fresh];
    await Promise.all(ids.map((id, i) => writeAll([backend.replicas[i % 2]!], id, `writer ${i}`, 10, 3)));
    await subscriber.received(90 + 50 * 30);
    await subscriber.cancel();
    subscriber.history.complete(await truthOf(backend.database, ids));
    assert.deepEqual(subscriber.history.all('started')[0]!.heads, []);
  });

  it('starts with what is new only, with the last n of each, or at a time', async () => {
    const [a, b] = [newBackupId(), newBackupId()];
    const createTime = { seconds: 1000n };
    for (const backupId of [a, b]) {
      const entries = ['1', '2', '3', '4'].map(message => ({ level: LogLevel.INFO, message, createTime }));
      await backend.logs.appendLogs({ backupId, entries });
    }
    await append(backend, a, ['late']);
    const starts = [
      [{ case: 'last', value: 0 }, []],
      [{ case: 'last', value: 2 }, ['4', 'late', '3', '4']],
      [{ case: 'since', value: { seconds: 1001n } }, ['late']],
      [{ case: 'since', value: { seconds: 1000n } }, ['1', '2', '3', '4', 'late', '1', '2', '3', '4']],
    ] as const;
    for (const [start, expected] of starts) {
      const subscriber = tail(start);
      await subscriber.told('caughtUp');
      assert.deepEqual(subscriber.history.messages().sort(), [...expected].sort(), start.case);
      const fresh = newBackupId();
      await append(backend, a, ['more']);
      await append(backend, fresh, ['other', 'another']);
      await subscriber.received(expected.length + 3);
      await subscriber.cancel();
      assert.deepEqual(subscriber.history.messages().slice(expected.length).sort(), ['another', 'more', 'other']);
      await backend.database.query('delete from backup_log_heads where backupid = $1', [fresh]);
      await backend.database.query('delete from backup_logs where backupid = $1', [fresh]);
      await backend.database.query("delete from backup_logs where message = 'more'");
      await backend.database.query('update backup_log_heads set lastid = 5 where backupid = $1', [a]);
    }
    const done = tail(undefined, false);
    assert.equal(await done.done, undefined);
    assert.equal(done.history.end, 'NOT_FOLLOWING');
    assert.equal(done.history.entries.length, 9);
  });

  it('continues after every token that it ever sent, whatever has come since', async () => {
    const ids = Array.from({ length: 20 }, newBackupId);
    for (const backupId of ids) await append(backend, backupId, ['a', 'b']);
    const subscriber = tail();
    await subscriber.told('caughtUp');
    await Promise.all(ids.map((id, i) => writeAll(backend.replicas, id, `writer ${i}`, 5, 2)));
    await subscriber.received(20 * 12);
    await subscriber.told('checkpoint', subscriber.history.all('checkpoint').length + 1);
    await subscriber.cancel();
    await append(backend, ids[0]!, ['after']);
    await append(backend, newBackupId(), ['new']);
    const tokens = subscriber.history.events.flatMap((event, i) =>
      event.value && 'resumeToken' in event.value && event.value.resumeToken ? [[i, event.value.resumeToken]] : [],
    ) as [number, string][];
    assert.ok(tokens.length > 3);
    for (const [i, value] of tokens.filter((_, n) => n % Math.ceil(tokens.length / 12) === 0)) {
      const before = subscriber.history.events.slice(0, i + 1);
      const had = before.flatMap(event =>
        event.case === 'entries' ? event.value.entries.map(entry => `${event.value.backupId} ${entry.id}`) : [],
      );
      const rest = tail({ case: 'resumeToken', value }, false);
      assert.equal(await rest.done, undefined);
      const came = rest.history.entries.map(entry => `${entry.backupId} ${entry.id}`);
      assert.equal(came.length, 20 * 12 + 2 - had.length);
      assert.equal(new Set([...had, ...came]).size, 20 * 12 + 2);
    }
  });

  it('never loses or doubles an entry over random resumes on either replica', async () => {
    const ids = Array.from({ length: 40 }, newBackupId);
    const writing = Promise.all(ids.map((id, i) => writeAll(backend.replicas, id, `writer ${i}`, 30, 1 + (i % 3))));
    let written = false;
    void writing.then(() => {
      written = true;
    });
    const count = ids.reduce((sum, _, i) => sum + 30 * (1 + (i % 3)), 0);
    const history = new History();
    let subscriber = new Subscriber(backend, { everything: true, follow: true }, history);
    for (let i = 0; !written || history.entries.length < count; i++) {
      await subscriber.received(Math.min(count, history.entries.length + 1 + ((i * 37) % 190)));
      await subscriber.cancel();
      subscriber = subscriber.resume(backend.replicas[i % 2]!);
    }
    await subscriber.cancel();
    history.complete(await truthOf(backend.database, ids));
  });

  it('goes through many logs in parts, and loses nothing when it breaks in the middle of them', async () => {
    await backend.database.query(
      `with logs as (insert into backup_log_heads (backupid, lastid) select md5(i::text), 3 from generate_series(1, 1700) i returning backupid)
       insert into backup_logs (backupid, id, loglevel, message, created_at)
       select backupid, n, 40, n::text, 1 from logs, generate_series(1, 3) n`,
    );
    const [row] = await backend.database.query('select array_agg(backupid) as ids from backup_log_heads');
    const ids = row!['ids'] as string[];
    const history = new History();
    let subscriber = new Subscriber(backend, { everything: true, follow: true }, history);
    for (let i = 0; history.entries.length < 3 * 1700; i++) {
      await subscriber.received(Math.min(3 * 1700, history.entries.length + 400));
      await subscriber.cancel();
      // Behind and before where it is.
      for (const k of [0, 1699]) await append(backend, ids.toSorted()[k]!, [`added ${i}`]);
      subscriber = subscriber.resume(backend.replicas[i % 2]!);
    }
    await subscriber.told('caughtUp');
    const added = await truthOf(backend.database, ids);
    await subscriber.received(added.length);
    await subscriber.cancel();
    history.complete(added);
  });

  it('keeps positions of what grows only, and finds again what has been silent', async () => {
    const [silent, ...ids] = Array.from({ length: 30 }, newBackupId) as [string, ...string[]];
    for (const backupId of [silent, ...ids]) await append(backend, backupId, ['a', 'b']);
    const subscriber = tail();
    await subscriber.told('caughtUp');
    const long = subscriber.history.token.length;
    await eventually(() => assert.ok(subscriber.history.token.length < long / 4, subscriber.history.token));
    const { token } = subscriber.history;
    // By the clock of the service they are new, whatever their writer says.
    const entries = [{ level: LogLevel.INFO, message: 'c', createTime: { seconds: 5n } }];
    await backend.logs.appendLogs({ backupId: silent, entries });
    await append(backend, silent, ['d']);
    await subscriber.received(62);
    await subscriber.cancel();
    subscriber.history.complete(await truthOf(backend.database, [silent, ...ids]));
    for (const replica of backend.replicas) {
      const start = { case: 'resumeToken', value: token } as const;
      const later = new Subscriber(replica, { everything: true, start });
      await later.done;
      assert.deepEqual(later.history.messages(), ['c', 'd']);
    }
  });

  it('looks by itself where no ring comes through', async () => {
    await using mute = await startReplica(backend.database.url, { ...settings, NOTIFY: 'off' });
    await using subscriber = tail();
    await subscriber.told('caughtUp');
    for (let i = 1; i <= 5; i++) {
      await append(mute, newBackupId(), [`${i}`]);
      await subscriber.received(i);
    }
  });

  it('says what retention has removed, goes on when a log is deleted, and does not when one has diverged', async () => {
    const [shortened, deleted, forged] = [newBackupId(), newBackupId(), newBackupId()];
    for (const backupId of [shortened, deleted, forged]) await append(backend, backupId, ['a', 'b', 'c']);
    const shorten = async (id: number) => {
      await backend.database.query(`delete from backup_logs where backupid = $1 and id < ${id}`, [shortened]);
      await backend.database.query(`update backup_log_heads set firstid = ${id} where backupid = $1`, [shortened]);
    };
    await shorten(3);
    const subscriber = tail();
    await subscriber.told('caughtUp');
    const { truncated } = { truncated: subscriber.history.all('truncated') };
    assert.deepEqual(
      truncated.map(({ backupId, fromId, toId }) => [backupId, fromId, toId]),
      [[shortened, 1n, 2n]],
    );
    await backend.controllers.createController({
      backupId: deleted,
      operation: Operation.BACKUP,
      type: Type.COURSE,
      itemId: 1n,
      purpose: Purpose.GENERAL,
    });
    await backend.controllers.deleteController({ backupId: deleted });
    await append(backend, forged, ['d']);
    await subscriber.received(8);
    await subscriber.told('checkpoint');
    const { token } = subscriber.history;
    await backend.database.query("update backup_logs set message = 'forged' where backupid = $1 and id = 4", [forged]);
    const resumed = tail({ case: 'resumeToken', value: token });
    await refused(resumed.over(), { code: 'ABORTED', reason: 'HISTORY_DIVERGED' });
    await subscriber.cancel();
  });
});

describe('TailLogs of everything, where what is growing is looked at for a minute,', () => {
  it('begins although that is more than one look reads, and has no controllers', async () => {
    await using backend = await startBackend();
    const logs = Array.from({ length: 1000 }, newBackupId);
    await Promise.all(logs.map(backupId => append(backend, backupId, ['lately'])));
    const subscriber = new Subscriber(backend, { everything: true, follow: true });
    await subscriber.told('caughtUp');
    await append(backend, logs[999]!, ['now']);
    await subscriber.received(1001);
    await subscriber.cancel();
  });
});

describe('TailLogs by filter', () => {
  let backend: Backend;
  before(async () => {
    backend = await startBackend({ replicas: 2, settings });
  });
  after(() => backend[Symbol.asyncDispose]());

  const create = async (itemId: bigint, userId = 1n, purpose: Purpose = Purpose.ASYNC, backupId = newBackupId()) => {
    await backend.controllers.createController({
      backupId,
      operation: Operation.BACKUP,
      type: Type.COURSE,
      itemId,
      userId,
      purpose,
    });
    return backupId;
  };
  const tail = (filter: MessageInitShape<typeof TailFilterSchema>, more = {}) =>
    new Subscriber(backend.replicas[1]!, { filter, follow: true, ...more });

  it('delivers what matches, and nothing else', async () => {
    const [mine, other] = [await create(10n, 7n), await create(11n, 8n, Purpose.AUTOMATED)];
    for (const backupId of [mine, other, newBackupId()]) await append(backend, backupId, ['before']);
    const filters: [MessageInitShape<typeof TailFilterSchema>, string[]][] = [
      [{ type: Type.COURSE, itemId: 10n }, [mine]],
      [{ userId: 8n }, [other]],
      [{ itemId: 10n, userId: 8n }, []],
      [{ purposes: [Purpose.AUTOMATED, Purpose.ASYNC], operation: Operation.BACKUP }, [mine, other]],
      [{ operation: Operation.RESTORE }, []],
      [{}, [mine, other]],
    ];
    for (const [filter, expected] of filters) {
      const subscriber = tail(filter);
      await subscriber.told('caughtUp');
      for (const backupId of [mine, other, newBackupId()]) await append(backend, backupId, ['live']);
      await subscriber.told('checkpoint', subscriber.history.all('checkpoint').length + 2);
      await subscriber.received((await truthOf(backend.database, expected)).length);
      await subscriber.cancel();
      subscriber.history.complete(await truthOf(backend.database, expected));
    }
  });

  it('picks up a backup that begins to match, with what it has logged before its controller was there', async () => {
    const userId = 100n;
    const early = newBackupId();
    await append(backend, early, ['before its controller']);
    // Long before: it is not among what has lately become visible.
    await backend.database.query('update backup_logs set created_at = created_at - 1000 where backupid = $1', [early]);
    await backend.database.query(
      'update backup_log_heads set lastmicros = lastmicros - 1000000000 where backupid = $1',
      [early],
    );
    const subscriber = tail({ userId }, { start: { case: 'last', value: 0 } });
    await subscriber.told('caughtUp');
    await create(20n, userId, Purpose.ASYNC, early);
    await subscriber.received(1);
    await append(backend, early, ['behind it']);
    const late = await create(21n, userId);
    await append(backend, late, ['first', 'second']);
    await subscriber.received(4);
    const changed = await create(22n, 5n);
    await append(backend, changed, ['not yet']);
    await backend.controllers.updateController({
      backupId: changed,
      controller: { userId },
      updateMask: { paths: ['user_id'] },
    });
    await append(backend, changed, ['now']);
    await eventually(() => assert.ok(subscriber.history.messages().includes('now')));
    await subscriber.cancel();
    subscriber.history.complete(
      await truthOf(backend.database, [early, late]).then(async truth => [
        ...truth,
        ...(await truthOf(backend.database, [changed])),
      ]),
    );
    // Its token knows them, too.
    const resumed = subscriber.resume(backend);
    await append(backend, early, ['last']);
    await resumed.received(subscriber.history.entries.length + 1);
    await resumed.told('checkpoint', resumed.history.all('checkpoint').length + 1);
    await resumed.cancel();
    assert.equal(resumed.history.messages().filter(message => message === 'first').length, 1);
  });

  it('puts checkpoints where it has looked, also when nothing matches, and leaves out what is more verbose', async () => {
    const backupId = await create(30n, 200n);
    await using subscriber = tail({ userId: 200n }, { maxLevel: LogLevel.WARNING });
    await subscriber.told('checkpoint', 2);
    await append(backend, backupId, ['info'], LogLevel.INFO);
    await append(backend, backupId, ['error'], LogLevel.ERROR);
    await append(backend, newBackupId(), ['elsewhere'], LogLevel.ERROR);
    await subscriber.received(1);
    await subscriber.told('checkpoint', subscriber.history.all('checkpoint').length + 2);
    assert.deepEqual(subscriber.history.messages(), ['error']);
  });

  it('refuses the token of another filter, of named backups and of everything', async () => {
    const backupId = await create(40n, 300n);
    await append(backend, backupId, ['a']);
    const tokenOf = async (request: ConstructorParameters<typeof Subscriber>[1]) => {
      const subscriber = new Subscriber(backend, request);
      await subscriber.done;
      return subscriber.history.token;
    };
    const [named, all, mine, theirs] = [
      await tokenOf({ backupIds: [backupId] }),
      await tokenOf({ everything: true }),
      await tokenOf({ filter: { userId: 300n } }),
      await tokenOf({ filter: { userId: 301n } }),
    ];
    const wrong: [ConstructorParameters<typeof Subscriber>[1], string][] = [
      [{ filter: { userId: 300n } }, named],
      [{ filter: { userId: 300n } }, all],
      [{ filter: { userId: 300n } }, theirs],
      [{ everything: true }, mine],
      [{ backupIds: [backupId] }, mine],
      [{ everything: true }, 'nonsense'],
    ];
    for (const [request, value] of wrong) {
      const subscriber = new Subscriber(backend, { ...request, start: { case: 'resumeToken', value } });
      await refused(subscriber.over(), { code: 'INVALID_ARGUMENT', reason: 'RESUME_TOKEN_INVALID' });
    }
  });
});
