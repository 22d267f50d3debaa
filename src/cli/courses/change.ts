import { type Course, CourseSchema, CourseService } from '../../gen/backup/v1/course_pb.ts';
import type { Session } from '../session.ts';
import { timestampOf } from '../terminal/times.ts';
import { statusText } from './status.ts';

export async function runNow(session: Session, _: object, courseIds: bigint[]): Promise<void> {
  const service = session.client(CourseService);
  for (const courseId of courseIds) {
    const { course } = await service.runCourseNow({ courseId }, session.call());
    await tell(session, course!);
  }
}

type Skip = { reason: string; nextStart?: Date };

export async function skip(session: Session, { reason, nextStart }: Skip, courseIds: bigint[]): Promise<void> {
  const service = session.client(CourseService);
  for (const courseId of courseIds) {
    const next = nextStart && { next: { case: 'time' as const, value: timestampOf(nextStart) } };
    const { course } = await service.skipCourse({ courseId, reason, ...(next && { nextStart: next }) }, session.call());
    await tell(session, course!);
  }
}

async function tell({ screen }: Session, course: Course): Promise<void> {
  await screen.item(CourseSchema, course, () => {
    const next = course.nextStartTime ? `, next start ${screen.time(course.nextStartTime)}` : '';
    return `course ${course.courseId}: ${statusText(course.lastStatus, screen.paint)}${next}`;
  });
}
