import { strict as assert } from 'node:assert';
import { StandbyState_State } from '../../../src/gen/backup/v1/replica_pb.ts';
import { startReplica } from '../../support/backend.ts';
import { backupctl } from '../../support/backupctl.ts';
import { eventually } from '../../support/eventually.ts';
import { type Reading, startReading, writeHistory } from '../../support/read-aside.ts';
import { Pair } from '../../support/standby-server.ts';
import { Subscriber } from '../../support/subscriber.ts';
import { append, newBackup, newBackupId, truthOf, writeAll } from '../../support/writing.ts';

describe('A standby that is read from', () => {
  let pair: Pair;
  before(async () => {
    pair = await Pair.start();
  });
  after(() => pair[Symbol.asyncDispose]());
  afterEach(() => pair.resume());

  it('answers lists, summaries and the history of tails; what decides about changes is read at the primary', async () => {
    await using service = await startReading(pair);
    const backupId = await newBackup(service);
    await append(service, backupId, ['one', 'two']);
    const { courses, controllers, logs } = service;
    await courses.upsertCourses({ courses: [{ courseId: 7n }] });
    const filter = { itemId: 1n };
    const asked: [string, () => Promise<unknown>, RegExp][] = [
      ['listLogs', () => logs.listLogs({ backupId }), /from backup_logs/],
      ['listLogs of a filter', () => logs.listLogs({ filter }), /"backup_controllers"[\s\S]*from backup_logs/],
      ['summarizeLogs', () => logs.summarizeLogs({ backupId }), /from backup_logs/],
      ['listControllers', () => controllers.listControllers({}), /"backup_controllers"/],
      ['summarizeControllers', () => controllers.summarizeControllers({}), /"backup_controllers"/],
      ['listCourses', () => courses.listCourses({}), /"backup_courses"/],
      ['listCourseRuns', () => courses.listCourseRuns({}), /"backup_course_runs"/],
      ['summarizeCourses', () => courses.summarizeCourses({}), /"backup_courses"/],
      ['tailLogs', () => new Subscriber(service, { backupIds: [backupId] }).over(), /from backup_logs/],
      ['tailLogs of many', () => new Subscriber(service, { filter }).over(), /from backup_logs/],
    ];
    for (const [name, ask, text] of asked) {
      service.said();
      const { standby } = service.app.standby!.reads;
      await ask();
      assert.match(service.said(), text, name);
      assert.ok(service.app.standby!.reads.standby > standby, name);
    }
    service.said();
    await controllers.getController({ backupId });
    await controllers.batchGetControllers({ backupIds: [backupId] });
    await courses.getCourse({ courseId: 7n });
    await append(service, backupId, ['three']);
    assert.doesNotMatch(service.said(), /backup_(logs|controllers|courses)/);
    assert.deepEqual([service.app.standby!.reads.primary, service.app.standby!.fallbacks], [0, 0]);
  });

  it('is told of by the replica that reads there', async () => {
    await using service = await startReading(pair);
    const told = (await service.replica.describeReplica({})).standby!;
    assert.equal(told.state, StandbyState_State.READ);
    assert.ok(told.lag!.seconds === 0n && told.lag!.nanos > 0);
    const doctor = await backupctl(['doctor'], { BACKUPCTL_ADDRESS: service.address });
    assert.match(doctor.stdout, /ok +standby +lists and history are read there, less than a second behind at most/);
    await pair.pause();
    await append(service, newBackupId(), ['a line']);
    await service.stands('BEHIND');
    assert.equal((await service.replica.describeReplica({})).standby!.state, StandbyState_State.BEHIND);
  });

  it('finds whatever was answered before the call began, on whichever replica', async () => {
    await using one = await startReading(pair);
    await using other = await startReading(pair);
    const backupId = newBackupId();
    for (let i = 1; i <= 150; i++) {
      await append(one, backupId, [`line ${i}`]);
      const { total } = await other.logs.summarizeLogs({ backupId });
      assert.equal(total, BigInt(i));
    }
    const { reads } = other.app.standby!;
    assert.ok(reads.standby > 75, `${reads.standby} of 150 were read there`);
  });

  it('is not read from while it is behind: nothing is missed, by lists and by tails, and it is read from again', async () => {
    await using service = await startReading(pair);
    const backupId = newBackupId();
    await writeHistory(pair, backupId, 5000);
    await pair.level();
    await pair.pause();
    const writing = writeAll([service], backupId, 'behind', 100, 30);
    const tails = Array.from({ length: 4 }, () => new Subscriber(service, { backupIds: [backupId], follow: true }));
    await append(service, backupId, ['the last one']);
    const { entries } = await service.logs.listLogs({ backupId, text: 'the last one' });
    const { total } = await service.logs.summarizeLogs({ backupId });
    assert.ok(total >= 5001n && entries.length <= 1);
    await service.stands('BEHIND');
    await writing;
    const before = service.app.standby!.reads.standby;
    const late = new Subscriber(service, { backupIds: [backupId] });
    await late.over();
    assert.equal((await service.logs.summarizeLogs({ backupId })).total, 8001n);
    assert.equal(service.app.standby!.reads.standby, before, 'nothing is read there');
    assert.ok(service.app.standby!.lagMs > 0);
    await pair.resume();
    await service.stands('READ');
    for (const tail of tails) {
      await tail.received(8001);
      await tail.cancel();
    }
    const truth = await truthOf(pair.primary, [backupId]);
    for (const tail of [...tails, late]) tail.history.complete(truth);
    const again = new Subscriber(service, { backupIds: [backupId] });
    await again.over();
    again.history.complete(truth);
    assert.ok(service.app.standby!.reads.standby > before);
  });

  it('gives no page of history that is shorter than the log was at the primary, also where commits are not flushed', async () => {
    await pair.primary.query("alter system set wal_writer_delay = '10s'");
    await pair.primary.query("alter system set wal_writer_flush_after = '1GB'");
    await pair.primary.query('select pg_reload_conf()');
    await using service = await startReading(pair);
    const { reads } = service.app.standby!;
    // Whatever else is committed at the same time flushes these commits, too.
    for (let i = 0; i < 50 && service.app.standby!.fallbacks === 0; i++) {
      const backupId = newBackupId();
      await writeHistory(pair, backupId, 3500);
      const more = `insert into backup_logs (backupid, id, loglevel, message, created_at)
         select '${backupId}', i, 40, 'unseen ' || i, 1 from generate_series(3501, 4600) i;
         update backup_log_heads set lastid = 4600 where backupid = '${backupId}'`;
      await pair.primary.query(`begin; set local synchronous_commit = off; ${more}; commit`);
      const tail = new Subscriber(service, { backupIds: [backupId] });
      await tail.over();
      tail.history.complete(await truthOf(pair.primary, [backupId]));
    }
    assert.ok(reads.standby >= 3 && service.app.standby!.fallbacks > 0, `${reads.standby} pages of the standby`);
  });

  describe('that may be behind', () => {
    let service: Reading;
    beforeEach(async () => {
      service = await startReading(pair, { READ_LAG: '3s' });
    });
    afterEach(() => service[Symbol.asyncDispose]());

    it('is read from without asking the primary, and never further behind than READ_LAG', async () => {
      const backupId = newBackupId();
      await append(service, backupId, ['before']);
      await eventually(async () => assert.equal((await service.logs.listLogs({ backupId })).entries.length, 1));
      await pair.level();
      await pair.pause();
      await append(service, backupId, ['behind']);
      const answered = performance.now();
      const { entries } = await service.logs.listLogs({ backupId });
      assert.equal(entries.length, 1, 'it is as far behind as it may be');
      let [seen, found] = [0, 0];
      for (const end = answered + 5000; performance.now() < end && seen < 20; ) {
        const began = performance.now();
        const { entries } = await service.logs.listLogs({ backupId });
        if (began - answered > 3000 || found > 0) assert.equal(entries.length, 2);
        if (entries.length === 2) seen++;
        found = entries.length - 1;
      }
      assert.equal(seen, 20);
      await service.stands('BEHIND');
    });

    it('is not behind for a page that continues a list', async () => {
      await using plain = await startReplica(pair.primary.url);
      const backupId = newBackupId();
      await pair.level();
      await pair.pause();
      await append(service, backupId, ['1', '2', '3', '4']);
      const first = await plain.logs.listLogs({ backupId, pageSize: 2 });
      assert.deepEqual((await service.logs.listLogs({ backupId })).entries, [], 'it is behind');
      const second = await service.logs.listLogs({ backupId, pageSize: 2, pageToken: first.nextPageToken });
      assert.deepEqual(
        second.entries.map(({ message }) => message),
        ['3', '4'],
      );
    });
  });
});
