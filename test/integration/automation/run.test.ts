import { strict as assert } from 'node:assert';
import { Outcome, Purpose, Status, Type } from '../../../src/gen/backup/v1/controller_pb.ts';
import { type Backend, startBackend } from '../../support/backend.ts';
import { claimDue, claimOne, course, finish, nameOf, standing, told } from './automation.ts';

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
    assert.deepEqual((await standing(backend, courseId))[0], 'UNFINISHED');
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
      assert.deepEqual(await standing(backend, courseId), [
        status,
        controller!.startTime!.seconds,
        controller!.endTime!.seconds,
        0n,
      ]);
      assert.deepEqual(await told(backend, courseId), [`1000 RAN ${nameOf(Outcome, outcome)}`]);
    });
  }
});
