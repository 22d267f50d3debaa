import { strict as assert } from 'node:assert';
import { fromJson } from '@bufbuild/protobuf';
import {
  Operation,
  Outcome,
  Purpose,
  Status,
  SummarizeControllersResponseSchema,
  Type,
} from '../../../src/gen/backup/v1/controller_pb.ts';
import { LogLevel } from '../../../src/gen/backup/v1/entry_pb.ts';
import { type Backend, startBackend } from '../../support/backend.ts';
import { backupctl } from '../../support/backupctl.ts';
import { eventually } from '../../support/eventually.ts';

describe('backupctl summary', () => {
  // A process for every command, and several processors' worth of other tests beside it.
  it('says that nothing needs attention where there is nothing', async () => {
    await using backend = await startBackend();
    const { code, stdout } = await backupctl(['summary'], { BACKUPCTL_ADDRESS: backend.address });
    assert.equal(code, 0);
    const lines = stdout.split('\n');
    assert.match(lines[0]!, new RegExp(`^Backup Management at ${backend.address}, \\d{4}-`));
    assert.deepEqual(lines.slice(1), [
      '',
      'nothing needs attention',
      '',
      'queue           0 waiting',
      'running         0 running, 0 held by a worker, 0 with a lease that has ended',
      'ended, last 1d  0 well, 0 failed, 0 lost, 0 cancelled',
      'durations       -',
      'last success    never',
      'courses         0',
      'due             0',
      'last course     never',
      'log, last 1d    0 ERROR, 0 WARNING, 0 INFO, 0 DEBUG',
      '',
    ]);
  });

  it('says on one screen what is, and first what needs attention, the worst first', async () => {
    await using backend = await startBackend({ settings: { SWEEP_INTERVAL: '50ms' } });
    await prepare(backend);
    const env = { BACKUPCTL_ADDRESS: backend.address };
    const { stdout } = await backupctl(['summary'], env);
    const text = stdout
      .replace(/\d+h( \d+m)?/g, 'HOURS')
      .replace(/\d{4}-\d\d-\d\d \S+, \d+m?s( \d+\w+)? ago/g, 'JUST NOW')
      .replace(/within \d+s/g, 'within SECONDS');
    assert.deepEqual(text.split('\n').slice(2), [
      '! work waits and no worker holds any (is a worker running? backupctl controllers list --status awaiting)',
      '! 1 course has failed (backupctl courses report --status error)',
      '! 1 run was lost with its worker in the last 1d (the log of each says which worker: backupctl controllers list --status finished-err)',
      '! 2 courses are due, the longest for HOURS (backupctl courses due)',
      '! 1 run waits for a worker, the longest for HOURS (backupctl controllers list --status awaiting)',
      '',
      `queue           1 waiting, oldest due ${hoursAgo(text, 'queue')}`,
      'running         0 running, 0 held by a worker, 0 with a lease that has ended',
      'ended, last 1d  1 well, 1 failed, 1 lost, 1 cancelled',
      'durations       half within SECONDS, 95% within SECONDS',
      'last success    JUST NOW',
      'courses         4, 1 OK, 2 NOT YET RUN, 1 ERROR',
      `due             2, oldest since ${hoursAgo(text, 'due')}`,
      'last course     JUST NOW',
      'log, last 1d    2 ERROR, 2 WARNING, 0 INFO, 0 DEBUG',
      '',
    ]);
    assert.ok(stdout.split('\n').length <= 24, 'it is one screen');
    const json = JSON.parse((await backupctl(['summary', '-o', 'json'], env)).stdout);
    assert.deepEqual(Object.keys(json), ['attention', 'controllers', 'courses', 'logs', 'ended']);
    assert.equal(json.attention.length, 5);
    assert.deepEqual(json.ended, { failed: 1, lost: 1, cancelled: 1, more: false });
    assert.equal(fromJson(SummarizeControllersResponseSchema, json.controllers).queueDepth, 1n);
  });
});

/** What stands there depends on when this runs; that it is three hours is seen. */
function hoursAgo(text: string, title: string): string {
  const line = new RegExp(`^${title} .*(?:due|since) (\\d{4}-\\d\\d-\\d\\d \\S+), HOURS ago$`, 'm');
  const [, time] = line.exec(text) ?? assert.fail(text);
  assert.ok(Math.abs(Date.now() - 3 * 3_600_000 - Date.parse(`${time}Z`)) < 120_000);
  return `${time}, HOURS ago`;
}

/** A course that went well and one that failed, two that are due, a run that waits, one that was lost, and one that was cancelled. */
async function prepare({ courses, controllers, logs, database }: Backend): Promise<void> {
  const threeHoursAgo = { seconds: BigInt(Math.floor(Date.now() / 1000) - 3 * 3600) };
  await courses.upsertCourses({ courses: [{ courseId: 1n }, { courseId: 2n }] });
  for (const courseId of [1n, 2n]) await courses.runCourseNow({ courseId });
  const { claimed } = await courses.claimDueCourses({ worker: 'night-shift', maxCourses: 2 });
  for (const [i, { controller, leaseToken }] of claimed.entries()) {
    const end = i === 0 ? { outcome: Outcome.SUCCEEDED } : { outcome: Outcome.FAILED, reason: 'the disk is full' };
    const { backupId } = controller!;
    if (i === 0) await logs.appendLogs({ backupId, leaseToken, entries: [{ level: LogLevel.WARNING, message: 'x' }] });
    await controllers.finishControllers({ finishes: [{ backupId, leaseToken, ...end }] });
  }
  const backup = {
    operation: Operation.BACKUP,
    type: Type.COURSE,
    purpose: Purpose.ASYNC,
    status: Status.AWAITING,
  } as const;
  await controllers.createController({ ...backup, format: 'lost' });
  await controllers.claimControllers({ worker: 'w', filter: { format: 'lost' }, leaseDuration: { seconds: 1n } });
  const cancelled = await controllers.createController(backup);
  await controllers.cancelController({ backupId: cancelled.controller!.backupId });
  await courses.upsertCourses({ courses: [3n, 4n].map(courseId => ({ courseId, nextStartTime: threeHoursAgo })) });
  await controllers.createController({ ...backup, format: 'late' });
  await database.query("update backup_controllers set created_at = $1 where format = 'late'", [threeHoursAgo.seconds]);
  await eventually(async () => {
    const failures = await controllers.listControllers({ filter: { statuses: [Status.FINISHED_ERR] } });
    assert.ok(failures.controllers.some(({ outcome }) => outcome === Outcome.LOST));
  });
}
