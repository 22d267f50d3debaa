import type { MessageInitShape } from '@bufbuild/protobuf';
import { RpcError } from '../../client/error.ts';
import { CourseSchema, CourseService, NextStartTimesResponseSchema } from '../../gen/backup/v1/course_pb.ts';
import type { ScheduleSchema } from '../../gen/backup/v1/schedule_pb.ts';
import { Failure } from '../failure.ts';
import type { Session } from '../session.ts';
import { timestampOf } from '../terminal/times.ts';
import { cron, scheduleText, weekly } from './schedule-text.ts';

type Options = { weekly?: string; cron?: string; default?: true; nextStart?: Date; preview?: number };
type Schedule = MessageInitShape<typeof ScheduleSchema>;

export async function schedule(session: Session, options: Options, courseIds: bigint[]): Promise<void> {
  const rules = [options.weekly, options.cron, options.default].filter(one => one !== undefined);
  if (rules.length > 1) throw new Failure('WRONG_USE', 'give only one of --weekly, --cron and --default');
  if (rules.length === 0 && !options.nextStart && !options.preview) {
    throw new Failure('WRONG_USE', 'give --weekly, --cron, --default or --next-start');
  }
  const given = options.weekly ? weekly(options.weekly) : options.cron ? cron(options.cron) : undefined;
  if (options.preview) return preview(session, given, options.preview);
  const { screen } = session;
  const service = session.client(CourseService);
  for (const courseId of courseIds) {
    const there = await find(session, courseId);
    // A next start alone leaves the schedule as it is: without one it would be taken away.
    const kept = given ?? (options.default ? undefined : there?.schedule);
    const upsert = {
      courseId,
      ...(there && { etag: there.etag }),
      ...(kept && { schedule: kept }),
      ...(options.nextStart && { nextStartTime: timestampOf(options.nextStart) }),
    };
    const { courses } = await service.upsertCourses({ courses: [upsert] }, session.call());
    const course = courses[0]!;
    await screen.item(CourseSchema, course, () => {
      const next = course.nextStartTime ? `next start ${screen.time(course.nextStartTime)}` : 'no next start';
      return `course ${courseId}${there ? '' : ' (new)'}: schedule ${scheduleText(course.schedule)}, ${next}`;
    });
  }
}

async function find(session: Session, courseId: bigint) {
  try {
    return (await session.client(CourseService).getCourse({ courseId }, session.call())).course;
  } catch (error) {
    if (error instanceof RpcError && error.reason === 'COURSE_NOT_FOUND') return undefined;
    throw error;
  }
}

async function preview(session: Session, given: Schedule | undefined, count: number): Promise<void> {
  const { screen } = session;
  const answer = await session
    .client(CourseService)
    .nextStartTimes({ count, ...(given && { schedule: given }) }, session.call());
  const lines = answer.startTimes.map(time => screen.time(time));
  await screen.show(NextStartTimesResponseSchema, answer, () => lines.join('\n') || 'it never starts');
}
