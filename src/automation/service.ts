import type { EntityManager, MikroORM } from '@mikro-orm/postgresql';
import { ringChanges } from '../controller/bell.ts';
import { Status } from '../controller/lifecycle.ts';
import { toMessage as toController } from '../controller/message.ts';
import type { Shown } from '../controller/row.ts';
import { locked, type Which } from '../course/change.ts';
import { type Course, LastStatus } from '../course/entity.ts';
import { asked, type Change, type Circumstances, skipped } from '../course/lifecycle.ts';
import { toGiven, toMessage } from '../course/message.ts';
import type { Schedule } from '../course/schedule.ts';
import { write } from '../course/store.ts';
import { readClock } from '../db/clock.ts';
import type { Doorbell } from '../db/doorbell.ts';
import { type Sql, sqlIn } from '../db/sql.ts';
import { ErrorReason, StatusError } from '../errors.ts';
import { CourseService, type Course as Message } from '../gen/backup/v1/course_pb.ts';
import type { Handlers } from '../grpc/bind.ts';
import { once, subjectOfMany } from '../request/once.ts';
import { toMillis } from '../timestamps.ts';
import { claimDue } from './claim.ts';

type Needs = {
  orm: MikroORM;
  doorbell: Doorbell;
  /** For how long a claim holds that does not say. */
  leaseMs: number;
  skipLocked: boolean;
  /** Of courses that have no schedule of their own. */
  fallback: Schedule | undefined;
  /** Undoes a claim whose caller has gone. */
  giveBack: (controllers: Shown[]) => Promise<void>;
};

const { method } = CourseService;

/** What happens to courses whose time has come. */
export function automationService({
  orm,
  doorbell,
  leaseMs,
  skipLocked,
  fallback,
  giveBack,
}: Needs): Pick<Handlers<typeof CourseService>, 'claimDueCourses' | 'skipCourse' | 'runCourseNow'> {
  return {
    async claimDueCourses(request, { signal }) {
      const claim = {
        worker: request.worker,
        most: request.maxCourses || 1,
        leaseMs: request.leaseDuration ? toMillis(request.leaseDuration) : leaseMs,
        userId: request.userId,
        format: request.format || 'moodle2',
      };
      let given: Shown[] = [];
      const answer = await once(orm, method.claimDueCourses, subjectOfMany(request), request, async em => {
        const claimed = await claimDue(sqlIn(em), claim, { skipLocked, fallback });
        given = claimed.map(({ controller }) => controller);
        return {
          claimed: claimed.map(({ course, controller }) => ({
            course: toMessage(course),
            controller: toController(controller),
            leaseToken: controller.leaseToken!,
            slotTime: { seconds: course.slot },
          })),
        };
      });
      // With a request id the caller can ask again.
      if (signal.aborted && !request.requestId) await giveBack(given);
      ringChanges(
        doorbell,
        answer.claimed!.map(({ controller }) => controller!.backupId!),
      );
      return answer;
    },

    async skipCourse(request) {
      const given = toGiven(request.nextStart, 'next_start');
      return once(orm, method.skipCourse, request.courseId, request, em =>
        changed(em, request, (course, circumstances) => skipped(course, request.reason, given, circumstances)),
      );
    },

    async runCourseNow(request) {
      return once(orm, method.runCourseNow, request.courseId, request, em =>
        changed(em, request, (course, circumstances) => ({ course: asked(course, circumstances), runs: [] })),
      );
    },
  };

  /** Changes a course that has no unfinished run, under its row's lock. */
  async function changed(
    em: EntityManager,
    which: Which,
    how: (course: Course, circumstances: Circumstances) => Change,
  ): Promise<{ course: Message }> {
    const sql = sqlIn(em);
    const course = await locked(sql, which);
    await refuseWhileRunning(sql, course);
    const change = how(course, { now: await readClock(sql), fallback });
    if (change.course === course) return { course: toMessage(course) };
    const [written] = await write(sql, [change]);
    return { course: toMessage(written!) };
  }
}

async function refuseWhileRunning(sql: Sql, { courseId, backupId, lastStatus, slot }: Course): Promise<void> {
  const waits = lastStatus === LastStatus.QUEUED && slot > 0n && (await isUnfinished(sql, backupId));
  if (lastStatus !== LastStatus.UNFINISHED && !waits) return;
  throw new StatusError(
    ErrorReason.COURSE_RUNNING,
    `course ${courseId} has a run that has not ended: controller ${backupId}`,
    { metadata: { backup_id: backupId } },
  );
}

async function isUnfinished(sql: Sql, backupId: string): Promise<boolean> {
  const text = `select from backup_controllers where backupid = $1 and status < ${Status.FINISHED_ERR}`;
  return (await sql({ text, values: [backupId] })).length > 0;
}
