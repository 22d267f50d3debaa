import { strict as assert } from 'node:assert';
import type { Message, MessageInitShape } from '@bufbuild/protobuf';
import { nameOf } from '../../../examples/tail.ts';
import { Outcome } from '../../../src/gen/backup/v1/controller_pb.ts';
import {
  type ClaimDueCoursesRequestSchema,
  type ClaimedCourse,
  type Course,
  type CourseRun,
  CourseRunKind,
  CourseStatus,
  type CourseUpsertSchema,
} from '../../../src/gen/backup/v1/course_pb.ts';
import type { Replica } from '../../support/backend.ts';

type With = Pick<Replica, 'courses' | 'controllers'>;

type Init<T> = Exclude<T, Message>;

export type Finish = { outcome?: Outcome; reason?: string; nextStart?: object };

let courseIds = 1n;

/** A new course, due since a while unless it says otherwise. */
export async function course(
  { courses }: With,
  more: Init<MessageInitShape<typeof CourseUpsertSchema>> = { nextStartTime: at(1000n) },
): Promise<bigint> {
  const courseId = courseIds++;
  await courses.upsertCourses({ courses: [{ courseId, ...more }] });
  return courseId;
}

export function at(seconds: bigint | number) {
  return { seconds: BigInt(seconds) };
}

export async function claimDue(
  { courses }: With,
  more: Init<MessageInitShape<typeof ClaimDueCoursesRequestSchema>> = {},
): Promise<ClaimedCourse[]> {
  return (await courses.claimDueCourses({ worker: 'w', maxCourses: 1000, ...more })).claimed;
}

/** The run of the one course that is due. */
export async function claimOne(replica: With, courseId: bigint): Promise<ClaimedCourse> {
  const claimed = await claimDue(replica);
  assert.deepEqual(
    claimed.map(one => one.course!.courseId),
    [courseId],
  );
  return claimed[0]!;
}

export async function finish(
  { controllers }: With,
  { controller, leaseToken }: Pick<ClaimedCourse, 'controller' | 'leaseToken'>,
  { outcome = Outcome.SUCCEEDED, ...more }: Finish = {},
) {
  const reason = outcome === Outcome.FAILED ? 'the disk is full' : '';
  const { results } = await controllers.finishControllers({
    finishes: [{ backupId: controller!.backupId, leaseToken, outcome, reason, ...more }],
  });
  return results[0]!;
}

export async function get({ courses }: With, courseId: bigint): Promise<Course> {
  return (await courses.getCourse({ courseId })).course!;
}

export async function statusOf(replica: With, courseId: bigint): Promise<string> {
  return nameOf(CourseStatus, (await get(replica, courseId)).lastStatus);
}

/** Status, last start and end, next start: what operators look at. 0 is never. */
export async function standing(replica: With, courseId: bigint): Promise<[string, ...bigint[]]> {
  const { lastStatus, lastStartTime, lastEndTime, nextStartTime } = await get(replica, courseId);
  return [
    nameOf(CourseStatus, lastStatus),
    ...[lastStartTime, lastEndTime, nextStartTime].map(time => time?.seconds ?? 0n),
  ];
}

/** The records of a course, by their starts. */
export async function runsOf({ courses }: With, courseId: bigint): Promise<CourseRun[]> {
  return (await courses.listCourseRuns({ filter: { courseId }, pageSize: 1000 })).runs.toReversed();
}

/** They, in a line each: start, what became of it, and how. */
export async function told(replica: With, courseId: bigint): Promise<string[]> {
  return (await runsOf(replica, courseId)).map(
    ({ slotTime, kind, outcome, reason }) =>
      `${slotTime!.seconds} ${nameOf(CourseRunKind, kind)}${outcome ? ` ${nameOf(Outcome, outcome)}` : ''}${reason ? `: ${reason}` : ''}`,
  );
}
