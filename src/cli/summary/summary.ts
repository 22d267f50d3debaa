import { toJson } from '@bufbuild/protobuf';
import {
  ControllerService,
  Outcome,
  Status,
  SummarizeControllersResponseSchema,
} from '../../gen/backup/v1/controller_pb.ts';
import { CourseService, SummarizeCoursesResponseSchema } from '../../gen/backup/v1/course_pb.ts';
import { LogService, SummarizeLogsResponseSchema } from '../../gen/backup/v1/log_pb.ts';
import type { Session } from '../session.ts';
import { WHOLE } from '../terminal/screen.ts';
import { timestampOf } from '../terminal/times.ts';
import { attention } from './attention.ts';
import { draw } from './draw.ts';
import type { Situation } from './situation.ts';

export async function summary(session: Session, { window: windowMs }: { window: number }): Promise<void> {
  const situation = await observe(session, windowMs);
  const problems = attention(situation);
  const { controllers, courses, logs, ended } = situation;
  const document = {
    attention: problems.map(({ text }) => text),
    controllers: toJson(SummarizeControllersResponseSchema, controllers, WHOLE),
    courses: toJson(SummarizeCoursesResponseSchema, courses, WHOLE),
    logs: toJson(SummarizeLogsResponseSchema, logs, WHOLE),
    ended,
  };
  await session.screen.tell(document, () => draw(situation, problems, session));
}

async function observe(session: Session, windowMs: number): Promise<Situation> {
  const controllerService = session.client(ControllerService);
  const call = session.call();
  const window = { start: timestampOf(new Date(Date.now() - windowMs)) };
  const [controllers, courses, logs, { controllers: failures, nextPageToken }] = await Promise.all([
    controllerService.summarizeControllers({ window }, call),
    session.client(CourseService).summarizeCourses({}, call),
    session.client(LogService).summarizeLogs({ filter: {}, window }, call),
    controllerService.listControllers(
      { filter: { statuses: [Status.FINISHED_ERR], updated: window }, pageSize: MOST_FAILURES },
      call,
    ),
  ]);
  const count = (...outcomes: Outcome[]) => failures.filter(({ outcome }) => outcomes.includes(outcome)).length;
  const ended = {
    failed: count(Outcome.FAILED, Outcome.UNSPECIFIED),
    lost: count(Outcome.LOST),
    cancelled: count(Outcome.CANCELLED),
    more: nextPageToken !== '',
  };
  return { controllers, courses, logs, ended, nowMs: Date.now(), windowMs };
}

/** Of one page: who has more has enough to look at. */
const MOST_FAILURES = 1000;
