import { strict as assert } from 'node:assert';
import { nameOf } from '../../../examples/tail.ts';
import { Outcome, Purpose, Status, Type } from '../../../src/gen/backup/v1/controller_pb.ts';
import { LogLevel } from '../../../src/gen/backup/v1/entry_pb.ts';
import { type Backend, startBackend } from '../../support/backend.ts';
import { eventually } from '../../support/eventually.ts';
import { refused } from '../../support/status.ts';
import { expire } from '../work/work.ts';
import { at, claimDue, claimOne, course, finish, get, runsOf, standing, statusOf, told } from './automation.ts';

describe('A run of a course', () => {
  let backend: Backend;
  beforeEach(async () => {
    backend = await startBackend();
  });
  afterEach(() => backend[Symbol.asyncDispose]());

  it('is a controller that the worker holds', async () => {
    const courseId = await course(backend);
    const { controller, course: claimed, leaseToken, slotTime } = await claimOne(backend, courseId);
    assert.deepEqual(
      [controller!.purpose, controller!.type, controller!.itemId, controller!.status, controller!.attempt],
      [Purpose.AUTOMATED, Type.COURSE, courseId, Status.EXECUTING, 1],
    );
    assert.equal(slotTime!.seconds, 1000n);
    assert.deepEqual([claimed!.backupId, controller!.lease!.worker], [controller!.backupId, 'w']);
    assert.equal(await statusOf(backend, courseId), 'UNFINISHED');
    const { results } = await backend.controllers.reportProgress({
      reports: [{ backupId: controller!.backupId, leaseToken, progress: 0.5 }],
    });
    assert.equal(results[0]!.error, undefined);
    assert.deepEqual(await claimDue(backend), []);
  });

  for (const [outcome, status] of [
    [Outcome.SUCCEEDED, 'OK'],
    [Outcome.SUCCEEDED_WITH_WARNINGS, 'WARNING'],
    [Outcome.FAILED, 'ERROR'],
  ] as const) {
    it(`leaves its course as ${status} when it has ${nameOf(Outcome, outcome)}`, async () => {
      const courseId = await course(backend);
      const run = await claimOne(backend, courseId);
      const { error } = await finish(backend, run, { outcome });
      assert.equal(error, undefined);
      const { controller } = await backend.controllers.getController({ backupId: run.controller!.backupId });
      const [start, end] = [controller!.startTime!.seconds, controller!.endTime!.seconds];
      assert.deepEqual(await standing(backend, courseId), [status, start, end, 0n]);
      const [record, ...more] = await runsOf(backend, courseId);
      assert.deepEqual(
        [record!.backupId, record!.startTime!.seconds, record!.endTime!.seconds, more],
        [run.controller!.backupId, start, end, []],
      );
      assert.deepEqual(await told(backend, courseId), [`1000 RAN ${nameOf(Outcome, outcome)}`]);
    });
  }

  it('moves its course once, however often its end is asked for with the same request id', async () => {
    const courseId = await course(backend);
    const { controller, leaseToken } = await claimOne(backend, courseId);
    const requestId = crypto.randomUUID();
    const finishes = [{ backupId: controller!.backupId, leaseToken, outcome: Outcome.SUCCEEDED }];
    const first = await backend.controllers.finishControllers({ finishes, requestId });
    const { etag } = await get(backend, courseId);
    assert.deepEqual(await backend.controllers.finishControllers({ finishes, requestId }), first);
    assert.equal((await get(backend, courseId)).etag, etag);
  });

  it('ends together with others that are no courses, each with its own result', async () => {
    const courseId = await course(backend);
    const run = await claimOne(backend, courseId);
    const { controller } = await backend.controllers.createController({
      operation: 1,
      type: Type.COURSE,
      purpose: Purpose.ASYNC,
      status: Status.AWAITING,
    });
    const { claimed } = await backend.controllers.claimControllers({ worker: 'w', maxControllers: 5 });
    assert.deepEqual(
      claimed.map(one => one.controller!.backupId),
      [controller!.backupId],
      'a course run is not in the queue',
    );
    const finishes = [run, claimed[0]!].map(one => ({
      backupId: one.controller!.backupId,
      leaseToken: one.leaseToken,
      outcome: Outcome.SUCCEEDED,
    }));
    const { results } = await backend.controllers.finishControllers({ finishes });
    assert.deepEqual(
      results.map(({ error }) => error),
      [undefined, undefined],
    );
    assert.equal(await statusOf(backend, courseId), 'OK');
  });

  it('leaves its course as ERROR when its worker is lost, and the late worker changes nothing', async () => {
    const courseId = await course(backend);
    const run = await claimOne(backend, courseId);
    await expire(backend.database, run.controller!.backupId);
    await eventually(async () => assert.equal(await statusOf(backend, courseId), 'ERROR'));
    const before = await get(backend, courseId);
    assert.deepEqual(await told(backend, courseId), ['1000 RAN LOST']);
    assert.ok((await finish(backend, run)).error);
    assert.deepEqual(await get(backend, courseId), before);
  });

  it('goes back to its course when it is given back, and is continued by whoever claims it next', async () => {
    const courseId = await course(backend);
    const run = await claimOne(backend, courseId);
    const { backupId } = run.controller!;
    await backend.controllers.releaseController({ backupId, leaseToken: run.leaseToken });
    assert.equal(await statusOf(backend, courseId), 'QUEUED');
    assert.deepEqual((await backend.controllers.claimControllers({ worker: 'w' })).claimed, []);
    const again = await claimOne(backend, courseId);
    assert.deepEqual(
      [again.controller!.backupId, again.controller!.attempt, again.slotTime!.seconds],
      [backupId, 2, 1000n],
    );
    assert.ok((await finish(backend, run)).error, 'the first lease is over');
    assert.equal((await finish(backend, again)).error, undefined);
    assert.deepEqual(await told(backend, courseId), ['1000 RAN SUCCEEDED']);
  });

  it('is not claimed before the time until which it was given back', async () => {
    const courseId = await course(backend);
    const { controller, leaseToken } = await claimOne(backend, courseId);
    const executionTime = at(4_000_000_000);
    await backend.controllers.releaseController({ backupId: controller!.backupId, leaseToken, executionTime });
    assert.equal(await statusOf(backend, courseId), 'QUEUED');
    assert.deepEqual(await claimDue(backend), []);
    const refusal = { code: 'FAILED_PRECONDITION', reason: 'COURSE_RUNNING' } as const;
    await refused(backend.courses.runCourseNow({ courseId }), refusal);
    await refused(backend.courses.skipCourse({ courseId, reason: 'closed' }), refusal);
  });

  it('leaves its course as ERROR when it is cancelled, whether a worker holds it or not', async () => {
    const [held, free] = [await course(backend), await course(backend)];
    const runs = await claimDue(backend);
    for (const { controller, leaseToken, course: claimed } of runs) {
      const { backupId } = controller!;
      if (claimed!.courseId === free) await backend.controllers.releaseController({ backupId, leaseToken });
      await backend.controllers.cancelController({ backupId });
    }
    assert.deepEqual(await told(backend, free), ['1000 RAN CANCELLED']);
    const run = runs.find(one => one.course!.courseId === held)!;
    assert.equal(await statusOf(backend, held), 'UNFINISHED');
    await finish(backend, run, { outcome: Outcome.FAILED });
    assert.deepEqual(await told(backend, held), ['1000 RAN CANCELLED']);
    for (const courseId of [held, free]) assert.equal(await statusOf(backend, courseId), 'ERROR');
  });

  it('is tried again by hand through its course, with a record of its own', async () => {
    const courseId = await course(backend);
    const run = await claimOne(backend, courseId);
    await finish(backend, run, { outcome: Outcome.FAILED });
    const { backupId } = run.controller!;
    await backend.controllers.retryController({ backupId });
    assert.equal(await statusOf(backend, courseId), 'QUEUED');
    const again = await claimOne(backend, courseId);
    assert.equal(again.controller!.backupId, backupId);
    await finish(backend, again);
    assert.equal(await statusOf(backend, courseId), 'OK');
    const records = await runsOf(backend, courseId);
    assert.deepEqual(
      records.map(({ outcome, backupId: of }) => [outcome, of]),
      [
        [Outcome.FAILED, backupId],
        [Outcome.SUCCEEDED, backupId],
      ],
    );
  });

  it('that nobody holds any more is put right within a second, and never to OK by age', async () => {
    const ids = [await course(backend), await course(backend), await course(backend)];
    const [deleted, moved, imported] = ids as [bigint, bigint, bigint];
    const runs = await claimDue(backend, { maxCourses: 2 });
    const of = (courseId: bigint) => runs.find(one => one.course!.courseId === courseId)!.controller!.backupId;
    await backend.controllers.deleteController({ backupId: of(deleted), force: true });
    await backend.database.query(
      'update backup_controllers set leasetoken = null, status = 1000, outcome = 2 where backupid = $1',
      [of(moved)],
    );
    await backend.database.query(
      "update backup_courses set laststatus = '2', laststarttime = 1, nextstarttime = 0 where courseid = $1",
      [imported],
    );
    await eventually(async () => {
      assert.deepEqual(await Promise.all(ids.map(id => statusOf(backend, id))), ['ERROR', 'WARNING', 'ERROR']);
    });
    assert.deepEqual(await told(backend, deleted), ['1000 RAN LOST']);
    assert.deepEqual(await told(backend, moved), ['1000 RAN SUCCEEDED_WITH_WARNINGS']);
    assert.deepEqual(
      (await runsOf(backend, imported)).map(({ outcome }) => outcome),
      [Outcome.LOST],
    );
  });

  it('that was put right is not told of again when its controller ends at last', async () => {
    const courseId = await course(backend);
    const { backupId } = (await claimOne(backend, courseId)).controller!;
    await backend.database.query('update backup_controllers set leasetoken = null where backupid = $1', [backupId]);
    await eventually(async () => assert.equal(await statusOf(backend, courseId), 'ERROR'));
    const before = await get(backend, courseId);
    await backend.controllers.cancelController({ backupId });
    assert.deepEqual(await get(backend, courseId), before);
    assert.deepEqual(await told(backend, courseId), ['1000 RAN LOST']);
  });

  it('logs and reports like any other', async () => {
    const courseId = await course(backend);
    const { controller, leaseToken } = await claimOne(backend, courseId);
    const { backupId } = controller!;
    const entries = [LogLevel.WARNING, LogLevel.WARNING, LogLevel.INFO].map(level => ({ level, message: 'a line' }));
    await backend.logs.appendLogs({ backupId, leaseToken, entries });
    await finish(backend, { controller, leaseToken }, { outcome: Outcome.FAILED });
    const { courses } = await backend.courses.listCourses({ view: 2 });
    const { report } = courses.find(one => one.courseId === courseId)!;
    assert.equal(report!.controller!.backupId, backupId);
    assert.ok(report!.duration);
    assert.deepEqual(
      report!.logCounts.map(({ level, count }) => [level, count]),
      [
        [LogLevel.ERROR, 1n],
        [LogLevel.WARNING, 2n],
        [LogLevel.INFO, 1n],
      ],
    );
  });
});
