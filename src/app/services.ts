import type { Config } from '../config.ts';
import { ControllerService } from '../gen/backup/v1/controller_pb.ts';
import { CourseService } from '../gen/backup/v1/course_pb.ts';
import { LogService } from '../gen/backup/v1/log_pb.ts';
import { ReplicaService } from '../gen/backup/v1/replica_pb.ts';
import { type Served, served } from '../grpc/bind.ts';
import { retentionServices } from '../retention/service.ts';
import { controllers } from './controllers.ts';
import { courses } from './courses.ts';
import { logs } from './logs.ts';
import type { Opened } from './opened.ts';
import { replica } from './replica.ts';

/** All services with what they need, and what the settings say to them. */
export function services(config: Config, opened: Opened): Served[] {
  const { orm, pool, archive, doorbell } = opened;
  const retention = retentionServices({ orm, pool, archive, doorbell });
  return [
    served(ControllerService, { ...controllers(config, opened), ...retention.controllers }),
    served(CourseService, courses(config, opened)),
    served(LogService, { ...logs(config, opened), ...retention.logs }),
    served(ReplicaService, replica(config, opened)),
  ];
}
