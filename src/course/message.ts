import { create, type MessageInitShape } from '@bufbuild/protobuf';
import { toMessage as toController } from '../controller/message.ts';
import { invalidFields } from '../errors.ts';
import {
  type CourseReportSchema,
  type CourseRunSchema,
  CourseSchema,
  CourseStatus,
  type Course as Message,
} from '../gen/backup/v1/course_pb.ts';
import { type LogLevel, LogLevelCountSchema } from '../gen/backup/v1/entry_pb.ts';
import type { NextStart, Schedule as ScheduleMessage, ScheduleSchema } from '../gen/backup/v1/schedule_pb.ts';
import { fromSeconds, toSeconds } from '../timestamps.ts';
import { etagOf } from './change.ts';
import { type Course, type CourseRun, LastStatus } from './entity.ts';
import type { Given } from './lifecycle.ts';
import type { Report } from './report.ts';
import { checkSchedule, parseSchedule, type Schedule, ScheduleError } from './schedule.ts';

/** A course as it is shown, whichever service shows it. */
export function toMessage(course: Course, report?: Report): Message {
  const [lastStartTime, lastEndTime, nextStartTime] = [
    course.lastStartTime,
    course.lastEndTime,
    course.nextStartTime,
  ].map(fromSeconds);
  return create(CourseSchema, {
    id: course.id,
    courseId: course.courseId,
    ...(lastStartTime && { lastStartTime }),
    ...(lastEndTime && { lastEndTime }),
    lastStatus: fromColumn(course.lastStatus),
    ...(nextStartTime && { nextStartTime }),
    etag: etagOf(course),
    ...(course.schedule && { schedule: fromSchedule(parseSchedule(course.schedule)) }),
    backupId: course.backupId,
    ...(report && { report: fromReport(report) }),
  });
}

function fromReport({ controller, logCounts }: Report): MessageInitShape<typeof CourseReportSchema> {
  const { startedAt, endedAt } = controller;
  return {
    controller: toController(controller),
    ...(startedAt > 0n && endedAt > 0n && { duration: { seconds: endedAt - startedAt } }),
    logCounts: logCounts.map(({ level, count }) => create(LogLevelCountSchema, { level: level as LogLevel, count })),
  };
}

export function fromRun(run: CourseRun): MessageInitShape<typeof CourseRunSchema> {
  const [startTime, endTime] = [run.startedAt, run.endedAt].map(fromSeconds);
  return {
    courseId: run.courseId,
    slotTime: { seconds: run.slot },
    kind: run.kind,
    backupId: run.backupId,
    outcome: run.outcome,
    reason: run.reason,
    ...(startTime && { startTime }),
    ...(endTime && { endTime }),
    createTime: { seconds: run.createdAt },
  };
}

/** The next start that a request gives. `path` is where it stands there. */
export function toGiven(nextStart: NextStart | undefined, path: string): Given {
  const next = nextStart?.next;
  if (next?.case === 'time') return { time: toSeconds(next.value) };
  return next?.case === 'schedule' ? { schedule: toSchedule(next.value, `${path}.schedule`) } : undefined;
}

/** The schedule that a request gives; refused when no start could be computed of it. `path` is where it stands there. */
export function toSchedule({ timeZone, rule }: ScheduleMessage, path: string): Schedule {
  const schedule =
    rule.case === 'weekly'
      ? { timeZone, weekdays: rule.value.weekdays, hour: rule.value.hour, minute: rule.value.minute }
      : { timeZone, cron: rule.value ?? '' };
  try {
    checkSchedule(schedule);
  } catch (error) {
    if (!(error instanceof ScheduleError)) throw error;
    const below = error.field === 'time_zone' || error.field === 'cron' ? error.field : `weekly.${error.field}`;
    throw invalidFields({ field: `${path}.${below}`, description: error.message });
  }
  return schedule;
}

function fromSchedule(schedule: Schedule): MessageInitShape<typeof ScheduleSchema> {
  const { timeZone } = schedule;
  if ('cron' in schedule) return { timeZone, rule: { case: 'cron', value: schedule.cron } };
  const { weekdays, hour, minute } = schedule;
  return { timeZone, rule: { case: 'weekly', value: { weekdays, hour, minute } } };
}

export function toColumn(wanted: CourseStatus): LastStatus {
  return statuses.find(([status]) => status === wanted)![1];
}

export function fromColumn(stored: LastStatus): CourseStatus {
  return statuses.find(([, column]) => column === stored)![0];
}

const statuses: [CourseStatus, LastStatus][] = [
  [CourseStatus.OK, LastStatus.OK],
  [CourseStatus.UNFINISHED, LastStatus.UNFINISHED],
  [CourseStatus.SKIPPED, LastStatus.SKIPPED],
  [CourseStatus.WARNING, LastStatus.WARNING],
  [CourseStatus.NOT_YET_RUN, LastStatus.NOT_YET_RUN],
  [CourseStatus.QUEUED, LastStatus.QUEUED],
  [CourseStatus.ERROR, LastStatus.ERROR],
];
