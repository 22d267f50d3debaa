import { strict as assert } from 'node:assert';
import { status } from '@grpc/grpc-js';
import { startReplica } from '../../support/backend.ts';
import { eventually } from '../../support/eventually.ts';
import { locked } from '../../support/locked.ts';
import { startReading, writeHistory } from '../../support/read-aside.ts';
import { Pair } from '../../support/standby-server.ts';
import { Subscriber } from '../../support/subscriber.ts';
import { append, newBackupId, truthOf, writeAll } from '../../support/writing.ts';

describe('A standby that fails', () => {
  let pair: Pair;
  before(async () => {
    pair = await Pair.start();
  });
  after(() => pair[Symbol.asyncDispose]());

  it('may be killed and come back: tails get each entry once and in order, lists answer all the while', async () => {
    await using service = await startReading(pair);
    const backupId = newBackupId();
    await writeHistory(pair, backupId, 30_000);
    const tails: Subscriber[] = [];
    const tailing = (follow: boolean) => tails.push(new Subscriber(service, { backupIds: [backupId], follow }));
    const writing = writeAll([service], backupId, 'live', 300);
    let written = false;
    void writing.then(() => {
      written = true;
    });
    const listing = (async () => {
      for (let known = 0n; !written; ) {
        const { total } = await service.logs.summarizeLogs({ backupId });
        assert.ok(total >= known, 'a summary went back in time');
        known = total;
      }
    })();
    tailing(true);
    await tails[0]!.received(2000);
    await pair.killStandby();
    tailing(true);
    await service.stands('AWAY');
    await service.logs.listLogs({ backupId });
    await pair.startStandby();
    await service.stands('READ', 30_000);
    tailing(true);
    await Promise.all([writing, listing]);
    for (const tail of tails) {
      await tail.received(30_300);
      await tail.cancel();
    }
    tailing(false);
    await tails.at(-1)!.over();
    const truth = await truthOf(pair.primary, [backupId]);
    for (const tail of tails) tail.history.complete(truth);
    assert.ok(service.app.standby!.reads.standby > 0);
  });

  it('that answers no more is cut off: what was asked of it is done by the primary', async () => {
    await using service = await startReading(pair);
    const backupId = newBackupId();
    await append(service, backupId, ['here']);
    await service.logs.listLogs({ backupId });
    service.cable.freeze();
    const began = performance.now();
    assert.equal((await service.logs.listLogs({ backupId })).entries.length, 1);
    assert.ok(performance.now() - began < 25_000);
    assert.ok(service.app.standby!.fallbacks + service.app.standby!.reads.primary > 0);
    await service.stands('READ');
  });

  it('that is not there when the service starts is read from once it is', async () => {
    await pair.killStandby();
    await using service = await startReplica(pair.primary.url, { DATABASE_READ_URL: pair.standby.url });
    const backupId = newBackupId();
    await append(service, backupId, ['here']);
    assert.equal((await service.logs.listLogs({ backupId })).entries.length, 1);
    await pair.startStandby();
    await eventually(() => assert.equal(service.app.standby!.state, 'READ'));
    assert.equal((await service.logs.listLogs({ backupId })).entries.length, 1);
    assert.equal(service.app.standby!.reads.standby, 1);
  });

  it('that takes back what is being read, because the primary has removed it, is not noticed', async () => {
    await using service = await startReading(pair);
    const backupId = newBackupId();
    await writeHistory(pair, backupId, 200_000);
    await pair.primary.query('create table scratch as select generate_series(1, 1000) as i');
    const stop = new AbortController();
    const churning = (async () => {
      while (!stop.signal.aborted) {
        await pair.primary.query('update scratch set i = i + 1');
        await pair.primary.query('vacuum scratch');
      }
    })();
    try {
      for (const end = performance.now() + 60_000; performance.now() < end && service.app.standby!.fallbacks < 3; ) {
        assert.equal((await service.logs.summarizeLogs({ backupId })).total, 200_000n);
      }
    } finally {
      stop.abort();
      await churning;
    }
    const conflicts = await pair.standby.query('select sum(confl_snapshot) as n from pg_stat_database_conflicts');
    assert.ok(service.app.standby!.fallbacks >= 3);
    assert.ok(Number(conflicts[0]!['n']) > 0, 'there were conflicts');
  });

  it('ends statements with the call that wanted them, by its deadline or its cancellation, and they are not done again', async () => {
    await using service = await startReading(pair);
    const backupId = newBackupId();
    await append(service, backupId, ['here']);
    await service.logs.listLogs({ backupId });
    const { fallbacks } = service.app.standby!;
    const waiting = () =>
      pair.standby.query(
        "select from pg_stat_activity where application_name = 'backup-management' and state = 'active' and wait_event_type = 'Lock'",
      );
    await using _lock = await locked(pair.primary, 'lock table backup_courses in access exclusive mode');
    // A commit takes the lock to the standby with it.
    await append(service, backupId, ['behind it']);
    for (const how of ['deadline', 'cancellation'] as const) {
      const abort = new AbortController();
      const options = how === 'deadline' ? { timeoutMs: 1500 } : { signal: abort.signal };
      const asked = service.courses.listCourses({}, options).then(
        () => assert.fail('it was answered'),
        (error: { code: number }) => error.code,
      );
      await eventually(async () => assert.equal((await waiting()).length, 1));
      abort.abort();
      assert.equal(await asked, how === 'deadline' ? status.DEADLINE_EXCEEDED : status.CANCELLED);
      await eventually(async () => assert.equal((await waiting()).length, 0));
    }
    assert.equal(service.app.standby!.fallbacks, fallbacks);
    assert.equal(service.app.standby!.reads.primary, 0);
  });
});

describe('A server that is no standby', () => {
  it('of this database is never read from: the primary, another database, one that was promoted', async () => {
    await using pair = await Pair.start();
    await pair.primary.query('create database other');
    await pair.level();
    const backupId = newBackupId();
    for (const [url, state] of [
      [pair.primary.url, 'PROMOTED'],
      [pair.standby.url.replace(/postgres$/, 'other'), 'FOREIGN'],
    ] as const) {
      await using service = await startReplica(pair.primary.url, { DATABASE_READ_URL: url });
      await eventually(() => assert.equal(service.app.standby!.state, state));
      await append(service, backupId, [state]);
      await service.logs.listLogs({ backupId });
      assert.deepEqual(service.app.standby!.reads, { primary: 1, standby: 0 });
    }
    await using service = await startReading(pair);
    assert.equal((await service.logs.listLogs({ backupId })).entries.length, 2);
    await pair.standby.query('select pg_promote()');
    await pair.standby.query("update backup_logs set message = 'of the promoted one'");
    const { entries } = await service.logs.listLogs({ backupId });
    assert.deepEqual(
      entries.map(({ message }) => message),
      ['PROMOTED', 'FOREIGN'],
    );
    await service.stands('PROMOTED');
    const tail = new Subscriber(service, { backupIds: [backupId] });
    await tail.over();
    tail.history.complete(await truthOf(pair.primary, [backupId]));
  });

  it('that follows the history before a failover is not read from until it follows the one after', async () => {
    await using pair = await Pair.start();
    await pair.copy('second');
    await pair.startStandby('second');
    const backupId = newBackupId();
    await using before = await startReplica(pair.primary.url, { DATABASE_READ_URL: pair.second.url });
    await eventually(() => assert.equal(before.app.standby!.state, 'READ'));
    await append(before, backupId, ['before']);
    await before[Symbol.asyncDispose]();
    await pair.stop('primary');
    await pair.standby.query('select pg_promote()');
    await using service = await startReplica(pair.standby.url, { DATABASE_READ_URL: pair.second.url });
    await append(service, backupId, ['after']);
    await service.logs.listLogs({ backupId });
    await eventually(() => assert.equal(service.app.standby!.state, 'FOREIGN'));
    assert.equal(service.app.standby!.reads.standby, 0);
    await pair.stop('second');
    await pair.startStandby('second', pair.standby);
    // It says so with its next restart point.
    await pair.standby.query('checkpoint');
    await eventually(async () => {
      await pair.second.query('checkpoint');
      assert.equal(service.app.standby!.state, 'READ');
    });
    assert.equal((await service.logs.listLogs({ backupId })).entries.length, 2);
    assert.ok(service.app.standby!.reads.standby > 0);
  });
});
