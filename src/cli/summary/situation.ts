import type { SummarizeControllersResponse } from '../../gen/backup/v1/controller_pb.ts';
import type { SummarizeCoursesResponse } from '../../gen/backup/v1/course_pb.ts';
import type { SummarizeLogsResponse } from '../../gen/backup/v1/log_pb.ts';

/** What a summary is made of. */
export type Situation = {
  controllers: SummarizeControllersResponse;
  courses: SummarizeCoursesResponse;
  /** Of the window. */
  logs: SummarizeLogsResponse;
  /** Runs that ended within the window other than well; `more` than these when there were very many. */
  ended: { failed: number; lost: number; cancelled: number; more: boolean };
  nowMs: number;
  windowMs: number;
};
