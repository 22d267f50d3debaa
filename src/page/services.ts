import type { ControllerService } from '../gen/backup/v1/controller_pb.ts';
import type { CourseService } from '../gen/backup/v1/course_pb.ts';
import type { LogService } from '../gen/backup/v1/log_pb.ts';
import type { LocalClient } from '../grpc/local.ts';

/** What the page shows comes from these methods, and it can call no others. */
export type Services = {
  controllers: Pick<
    LocalClient<typeof ControllerService>,
    'summarizeControllers' | 'batchGetControllers' | 'watchControllers'
  >;
  courses: Pick<LocalClient<typeof CourseService>, 'summarizeCourses' | 'listCourses'>;
  logs: Pick<LocalClient<typeof LogService>, 'tailLogs'>;
};
