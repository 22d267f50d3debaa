import { OutcomeSchema } from '../../gen/backup/v1/controller_pb.ts';
import {
  type Course,
  type CourseRun,
  CourseRunKind,
  CourseRunKindSchema,
  CourseSchema,
  CourseService,
} from '../../gen/backup/v1/course_pb.ts';
import { nameOf } from '../names.ts';
import { collect } from '../pages.ts';
import type { Session } from '../session.ts';
import type { Screen } from '../terminal/screen.ts';
import { table } from '../terminal/table.ts';
import { printable } from '../terminal/text.ts';
import { durationText, millisOf } from '../terminal/times.ts';
import { scheduleText } from './schedule-text.ts';
import { statusText } from './status.ts';

export async function getCourse(session: Session, { runs: count }: { runs: number }, courseId: bigint): Promise<void> {
  const { screen } = session;
  const service = session.client(CourseService);
  const { course } = await service.getCourse({ courseId }, session.call());
  const runs =
    screen.format === 'table' && count > 0
      ? await collect(
          page => service.listCourseRuns({ filter: { courseId }, ...page }, session.call()),
          page => page.runs,
          count,
        )
      : [];
  await screen.show(CourseSchema, course!, () => draw(course!, runs, screen));
}

function draw(course: Course, runs: CourseRun[], screen: Screen): string {
  const { paint, time } = screen;
  const facts = [
    ['course', String(course.courseId)],
    ['status', statusText(course.lastStatus, paint)],
    ['last start', time(course.lastStartTime)],
    ['last end', time(course.lastEndTime)],
    ['next start', time(course.nextStartTime)],
    ['schedule', scheduleText(course.schedule)],
    ['backup id', course.backupId || '-'],
  ];
  const head = facts.map(([name, value]) => `${paint('bold', name!.padEnd(10))}  ${value}`).join('\n');
  return runs.length === 0 ? head : `${head}\n\n${runsTable(runs, screen)}`;
}

function runsTable(runs: CourseRun[], { paint, time, width }: Screen): string {
  const titles = ['START', 'WHAT', 'OUTCOME', 'DURATION', 'BACKUP ID / REASON'];
  const rows = runs.map(({ slotTime, kind, outcome, startTime, endTime, backupId, reason }) => [
    time(slotTime),
    nameOf(CourseRunKindSchema, kind),
    kind === CourseRunKind.RAN ? nameOf(OutcomeSchema, outcome).replaceAll('_', ' ') : '-',
    startTime && endTime ? durationText(millisOf(endTime) - millisOf(startTime)) : '-',
    backupId || printable(reason),
  ]);
  return table(
    titles.map(title => ({ title: paint('bold', title), right: title === 'DURATION' })),
    rows,
    width,
  );
}
