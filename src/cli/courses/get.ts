import { CourseSchema, CourseService } from '../../gen/backup/v1/course_pb.ts';
import type { Session } from '../session.ts';

export async function getCourse(session: Session, _options: object, courseId: bigint): Promise<void> {
  const { screen } = session;
  const { course } = await session.client(CourseService).getCourse({ courseId }, session.call());
  await screen.show(CourseSchema, course!, () => `course ${courseId}`);
}
