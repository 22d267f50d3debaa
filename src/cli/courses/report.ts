import { create } from '@bufbuild/protobuf';
import {
  type Course,
  CourseOrder,
  CourseService,
  CourseStatus,
  CourseView,
  ListCoursesResponseSchema,
} from '../../gen/backup/v1/course_pb.ts';
import { collect } from '../pages.ts';
import type { Session } from '../session.ts';
import type { Screen } from '../terminal/screen.ts';
import { type Column, table } from '../terminal/table.ts';
import { durationOf, durationText, millisOf, timestampOf } from '../terminal/times.ts';
import { LATE_MS, problemsFirst } from './order.ts';
import { isDue, lateness, statusText, troubles } from './status.ts';

type Options = {
  status?: string[];
  due?: boolean;
  overdue?: number;
  neverRun?: boolean;
  failingSince?: Date;
  order: 'problems' | 'next-start' | 'last-start' | 'last-end';
  limit?: number;
};

export async function report(session: Session, options: Options): Promise<void> {
  const { screen } = session;
  const { order, limit } = options;
  const isSorted = order !== 'problems';
  const service = session.client(CourseService);
  const filter = filterOf(options);
  const view = CourseView.REPORT;
  let courses = await collect(
    page => service.listCourses({ filter, order: ORDERS[order], view, ...page }, session.call()),
    page => page.courses,
    isSorted ? limit : undefined,
  );
  if (!isSorted) courses = problemsFirst(courses, Date.now()).slice(0, limit);
  await screen.show(ListCoursesResponseSchema, create(ListCoursesResponseSchema, { courses }), () =>
    draw(courses, screen),
  );
}

const ORDERS = {
  problems: CourseOrder.NEXT_START_FIRST,
  'next-start': CourseOrder.NEXT_START_FIRST,
  'last-start': CourseOrder.LAST_START_LATEST,
  'last-end': CourseOrder.LAST_END_LATEST,
};

function filterOf({ status = [], due = false, overdue, neverRun = false, failingSince }: Options) {
  const statuses = status.map(
    name => CourseStatus[name.toUpperCase().replaceAll('-', '_') as keyof typeof CourseStatus],
  );
  return {
    statuses: [...new Set(statuses)],
    due,
    neverRun,
    ...(overdue !== undefined && { overdueBy: durationOf(overdue) }),
    ...(failingSince && { failingSince: timestampOf(failingSince) }),
  };
}

function draw(courses: Course[], screen: Screen): string {
  if (courses.length === 0) return 'no courses';
  const { paint, width, time } = screen;
  const nowMs = Date.now();
  const rows = courses.map(course => [
    String(course.courseId),
    statusText(course.lastStatus, paint),
    time(course.lastStartTime),
    durationCell(course, nowMs),
    ...troubles(course, paint),
    nextCell(course, screen, nowMs),
  ]);
  const columns = COLUMNS.map(column => ({ ...column, title: paint('bold', column.title) }));
  return `${table(columns, rows, width)}\n\n${totals(courses, screen, nowMs)}`;
}

const COLUMNS: Column[] = [
  { title: 'COURSE', right: true },
  { title: 'STATUS' },
  { title: 'LAST START' },
  { title: 'DURATION', right: true },
  { title: 'ERRORS', right: true },
  { title: 'WARNINGS', right: true },
  { title: 'NEXT START' },
];

function durationCell({ lastStatus, lastStartTime, lastEndTime, report }: Course, nowMs: number): string {
  if (!lastStartTime) return '-';
  if (lastStatus === CourseStatus.UNFINISHED) {
    const percent = report?.controller ? ` (${Math.floor(report.controller.progress * 100)}%)` : '';
    return `${durationText(Math.max(0, nowMs - millisOf(lastStartTime)))}${percent}`;
  }
  if (report?.duration) return durationText(millisOf(report.duration));
  const ms = lastEndTime ? millisOf(lastEndTime) - millisOf(lastStartTime) : -1;
  return ms < 0 ? '-' : durationText(ms);
}

function nextCell(course: Course, { paint, time }: Screen, nowMs: number): string {
  const late = lateness(course, nowMs);
  if (late === undefined) return time(course.nextStartTime);
  return `${time(course.nextStartTime)} ${paint(late > LATE_MS ? 'red' : 'yellow', `due ${durationText(late)}`)}`;
}

function totals(courses: Course[], { paint }: Screen, nowMs: number): string {
  const count = (which: (course: Course) => boolean) => courses.filter(which).length;
  const parts = [
    CourseStatus.ERROR,
    CourseStatus.WARNING,
    CourseStatus.UNFINISHED,
    CourseStatus.QUEUED,
    CourseStatus.OK,
  ]
    .map(status => ({ status, many: count(course => course.lastStatus === status) }))
    .filter(({ many }) => many > 0)
    .map(({ status, many }) => `${many} ${statusText(status, paint)}`);
  const due = count(course => isDue(course, nowMs));
  return `${courses.length} ${courses.length === 1 ? 'course' : 'courses'}: ${[...parts, `${due} due`].join(', ')}`;
}
