import { type Course, CourseStatus, CourseStatusSchema } from '../../gen/backup/v1/course_pb.ts';
import { LogLevel } from '../../gen/backup/v1/entry_pb.ts';
import { nameOf } from '../names.ts';
import type { Ink, Paint } from '../terminal/paint.ts';
import { millisOf } from '../terminal/times.ts';

/** The name that the field has for it, in the colour that operators know from it. */
export function statusText(status: CourseStatus, paint: Paint): string {
  return paint(INKS[status] ?? [], nameOf(CourseStatusSchema, status).replaceAll('_', ' '));
}

const INKS: Partial<Record<CourseStatus, Ink | Ink[]>> = {
  [CourseStatus.OK]: 'green',
  [CourseStatus.UNFINISHED]: 'cyan',
  [CourseStatus.SKIPPED]: 'magenta',
  [CourseStatus.WARNING]: 'yellow',
  [CourseStatus.NOT_YET_RUN]: 'dim',
  [CourseStatus.QUEUED]: 'blue',
  [CourseStatus.ERROR]: ['bold', 'red'],
};

/** Whether a worker could claim it now. */
export function isDue(course: Course, nowMs: number): boolean {
  return course.lastStatus === CourseStatus.QUEUED || lateness(course, nowMs) !== undefined;
}

/** For how many milliseconds its start has been due; undefined when it is not, or is being worked on. Of one that was asked for nobody is told. */
export function lateness({ lastStatus, nextStartTime }: Course, nowMs: number): number | undefined {
  if (!nextStartTime || lastStatus === CourseStatus.UNFINISHED) return undefined;
  const late = nowMs - millisOf(nextStartTime);
  return late >= 0 ? late : undefined;
}

export function logCount({ report }: Course, level: LogLevel): bigint {
  return report?.logCounts.find(one => one.level === level)?.count ?? 0n;
}

/** How many errors and warnings the last run logged, as cells. */
export function troubles(course: Course, paint: Paint): [errors: string, warnings: string] {
  const cell = (level: LogLevel, ink: Ink) => {
    const count = logCount(course, level);
    return count === 0n ? paint('dim', course.report ? '0' : '-') : paint(ink, String(count));
  };
  return [cell(LogLevel.ERROR, 'red'), cell(LogLevel.WARNING, 'yellow')];
}
