import { strict as assert } from 'node:assert';
import { randomUUID } from 'node:crypto';
import { Outcome } from '../../../src/gen/backup/v1/controller_pb.ts';
import { CourseStatus } from '../../../src/gen/backup/v1/course_pb.ts';
import { Caller, type Scene } from '../caller.ts';

/** The runs of a course that have ended: which start it was, whose run, and how it ended. */
export type CourseRuns = { courseId: bigint; slot: bigint; backupId: string; outcome: Outcome }[];

const COURSES = [1n, 2n, 3n, 4n, 5n];

/** Makes courses due, claims each of them once, and finishes its run. */
export async function runCourses(name: string, scene: Scene, runs: CourseRuns): Promise<void> {
  const caller = new Caller(name, scene);
  for (let slot = 1000n; !scene.stop.aborted; slot++) {
    const courses = COURSES.map(courseId => ({ courseId, nextStartTime: { seconds: slot } }));
    const planned = randomUUID();
    await caller.ask((replica, options) => replica.courses.upsertCourses({ courses, requestId: planned }, options));
    const request = { worker: name, maxCourses: 1000, leaseDuration: { seconds: 600n }, requestId: randomUUID() };
    const claim = () => caller.ask((replica, options) => replica.courses.claimDueCourses(request, options));
    const { claimed } = await claim();
    assert.deepEqual(claimed.map(({ course }) => course!.courseId).toSorted(), COURSES, 'not each of them once');
    const outcome = scene.dice.pick([Outcome.SUCCEEDED, Outcome.SUCCEEDED_WITH_WARNINGS, Outcome.FAILED]);
    const reason = outcome === Outcome.FAILED ? 'by chance' : '';
    const finishes = claimed.map(({ controller, leaseToken }) => {
      return { backupId: controller!.backupId, leaseToken, outcome, reason };
    });
    const requestId = randomUUID();
    const { results } = await caller.ask((replica, options) =>
      replica.controllers.finishControllers({ finishes, requestId }, options),
    );
    for (const [i, { course, controller }] of claimed.entries()) {
      assert.equal(results[i]!.error, undefined, 'a lease of ten minutes was lost');
      runs.push({ courseId: course!.courseId, slot, backupId: controller!.backupId, outcome });
    }
    const courseId = scene.dice.pick(COURSES);
    const { course } = await caller.ask((replica, options) => replica.courses.getCourse({ courseId }, options));
    assert.equal(course!.lastStatus, STATUS[outcome as keyof typeof STATUS]);
  }
}

const STATUS = {
  [Outcome.SUCCEEDED]: CourseStatus.OK,
  [Outcome.SUCCEEDED_WITH_WARNINGS]: CourseStatus.WARNING,
  [Outcome.FAILED]: CourseStatus.ERROR,
};
