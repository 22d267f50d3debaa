import { setTimeout as delay } from 'node:timers/promises';
import { durationFromMs } from '@bufbuild/protobuf/wkt';
import { type Connection, LogLevel, type Run } from '../../src/client/main.ts';

/** Courses that have backups at night. */
export async function plan({ courses }: Connection): Promise<void> {
  const schedule = {
    timeZone: 'Europe/Berlin',
    rule: { case: 'weekly', value: { weekdays: '1111111', hour: 2, minute: 30 } },
  } as const;
  await courses.upsertCourses({ courses: COURSES.map(courseId => ({ courseId, schedule })) });
  await courses.skipCourse({ courseId: 104n, reason: 'nothing has changed since the last backup' });
}

const COURSES = [101n, 102n, 103n, 104n, 105n, 106n, 107n, 108n];

/** What has gone well, and what has not, before anybody looks. */
export async function past(service: Connection): Promise<void> {
  for (const courseId of [101n, 102n, 103n]) await service.courses.runCourseNow({ courseId });
  await worked(service, 3, run => backUp(run, 400));
  await service.courses.runCourseNow({ courseId: 105n });
  // A worker that is never heard of again.
  const { claimed } = await service.courses.claimDueCourses({
    worker: 'backup-3',
    leaseDuration: durationFromMs(1000),
  });
  const [{ controller, leaseToken } = {}] = claimed;
  const { backupId } = controller!;
  const entries = [{ level: LogLevel.INFO, message: 'course 105: 12 activities' }];
  await service.logs.appendLogs({ backupId, leaseToken: leaseToken!, entries });
  for (;;) {
    const { controller } = await service.controllers.getController({ backupId });
    if (!controller!.lease) return;
    await delay(200);
  }
}

/** Three courses at the same time, for some seconds. */
export async function present(service: Connection, stop: AbortSignal): Promise<void> {
  for (const courseId of [102n, 106n, 103n, 107n]) await service.courses.runCourseNow({ courseId });
  await service.work({
    worker: 'backup-1',
    courses: true,
    concurrency: 3,
    drainOn: [],
    graceMs: 100,
    signal: stop,
    handler: run => backUp(run, 1500 + 700 * Number(run.controller.itemId % 3n)),
  });
}

async function worked(service: Connection, count: number, handler: (run: Run) => ReturnType<typeof backUp>) {
  const enough = new AbortController();
  let ended = 0;
  const onEnd = () => {
    if (++ended === count) enough.abort();
  };
  await service.work({ worker: 'backup-2', courses: true, drainOn: [], signal: enough.signal, handler, onEnd });
}

const STEPS = ['course settings', 'sections', 'activities', 'question bank', 'files', 'gradebook', 'zip'];

/** A backup that takes so many milliseconds for a step. */
async function backUp(run: Run, stepMs: number): Promise<{ warnings: boolean }> {
  const course = run.controller.itemId;
  await run.log.write(LogLevel.INFO, `course ${course}: backup of ${STEPS.length} parts`);
  for (const [i, step] of STEPS.entries()) {
    for (const part of [1, 2, 3, 4, 5]) {
      await delay(stepMs / 5, undefined, { signal: run.signal });
      run.progress((i + part / 5) / STEPS.length);
    }
    await run.log.write(LogLevel.INFO, `course ${course}: ${step} written`);
    if (course === 102n && step === 'files')
      await run.log.write(LogLevel.WARNING, 'file a3f9/slides.pdf is gone from the file pool; left out');
    if (course === 103n && step === 'question bank') throw new Error('question 4711 refers to a category that is gone');
  }
  return { warnings: course === 102n };
}
