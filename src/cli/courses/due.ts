import { create } from '@bufbuild/protobuf';
import { type Course, CourseOrder, CourseService, ListCoursesResponseSchema } from '../../gen/backup/v1/course_pb.ts';
import { collect } from '../pages.ts';
import type { Session } from '../session.ts';
import type { Screen } from '../terminal/screen.ts';
import { table } from '../terminal/table.ts';
import { durationOf, durationText } from '../terminal/times.ts';
import { LATE_MS } from './order.ts';
import { lateness, statusText } from './status.ts';

export async function due(session: Session, { overdue, limit }: { overdue?: number; limit?: number }): Promise<void> {
  const service = session.client(CourseService);
  const filter = { due: true, ...(overdue !== undefined && { overdueBy: durationOf(overdue) }) };
  const courses = await collect(
    page => service.listCourses({ filter, order: CourseOrder.NEXT_START_FIRST, ...page }, session.call()),
    page => page.courses,
    limit,
  );
  const { screen } = session;
  await screen.show(ListCoursesResponseSchema, create(ListCoursesResponseSchema, { courses }), () =>
    draw(courses, screen),
  );
}

function draw(courses: Course[], { paint, time, width }: Screen): string {
  if (courses.length === 0) return 'no course is due';
  const nowMs = Date.now();
  const columns = [
    { title: 'COURSE', right: true },
    { title: 'DUE SINCE' },
    { title: 'LATE', right: true },
    { title: 'LAST STATUS' },
    { title: 'LAST END' },
  ];
  const rows = courses.map(course => {
    const late = lateness(course, nowMs);
    return [
      String(course.courseId),
      late === undefined ? 'asked for' : time(course.nextStartTime),
      late === undefined ? '-' : paint(late > LATE_MS ? 'red' : 'yellow', durationText(late)),
      statusText(course.lastStatus, paint),
      time(course.lastEndTime),
    ];
  });
  return table(
    columns.map(column => ({ ...column, title: paint('bold', column.title) })),
    rows,
    width,
  );
}
