import { randomUUID } from 'node:crypto';
import type { MessageInitShape } from '@bufbuild/protobuf';
import { durationFromMs, timestampDate } from '@bufbuild/protobuf/wkt';
import type { ClaimFilterSchema, ControllerService } from '../../gen/backup/v1/controller_pb.ts';
import type { CourseService } from '../../gen/backup/v1/course_pb.ts';
import { BackOff, pause } from '../back-off.ts';
import type { CallOptions, ServiceClient } from '../calls.ts';
import { RpcError } from '../error.ts';
import type { IngestOptions, LogWriter } from '../ingest/writer.ts';
import type { Claimed } from './run.ts';

/** Which work, as whom. */
export type ClaimOptions = {
  /** What the worker calls itself: 1 to 100 characters. It is shown to people, and stands in the log when the worker is lost. */
  worker: string;
  /** Which runs; else all that wait. */
  filter?: MessageInitShape<typeof ClaimFilterSchema>;
  /** Due courses, too, before other runs: in whose name, and in which format. */
  courses?: boolean | { userId?: bigint; format?: string };
  /** For how long the service waits for a sign of life: 1 to 86,400; else 30. */
  leaseSeconds?: number;
  /** How long a claim waits for work, which decides only how often it is asked: 0 to 300; else 30, and 2 with courses, which nobody is woken for. */
  waitSeconds?: number;
  /** Told of every claim that failed and is made again. */
  onTrouble?: (error: RpcError) => void;
};

/** What `connect` gives, as far as work needs it. */
export type Services = {
  controllers: ServiceClient<typeof ControllerService>;
  courses: ServiceClient<typeof CourseService>;
  ingest(options: IngestOptions): LogWriter;
};

/** Up to so many runs, the longest due first; none when there was no work for a while, or at the abort. Fails when the service refuses. */
export async function claim(
  services: Services,
  options: ClaimOptions,
  most: number,
  stop: AbortSignal,
): Promise<Claimed[]> {
  const { worker, courses = false, filter, leaseSeconds = 30, waitSeconds = courses ? 2 : 30 } = options;
  const leaseDuration = durationFromMs(leaseSeconds * 1000);
  if (courses) {
    const asked = courses === true ? {} : courses;
    const request = { ...asked, worker, leaseDuration, maxCourses: most, requestId: randomUUID() };
    const due = await persistently(10_000, options, stop, async how => {
      const { claimed } = await services.courses.claimDueCourses(request, how);
      return claimed.map(({ controller, course, leaseToken, slotTime }) => {
        return { controller: controller!, course: course!, leaseToken, slotTime: timestampDate(slotTime!) };
      });
    });
    if (due.length > 0 || stop.aborted) return due;
  }
  const wait = durationFromMs(waitSeconds * 1000);
  const request = {
    worker,
    leaseDuration,
    wait,
    maxControllers: most,
    requestId: randomUUID(),
    ...(filter && { filter }),
  };
  return persistently(waitSeconds * 1000 + 10_000, options, stop, async how => {
    const { claimed } = await services.controllers.claimControllers(request, how);
    return claimed.map(({ controller, leaseToken }) => ({ controller: controller!, leaseToken }));
  });
}

/** Asks until there is an answer: to the same request id it is the same one, so that no lease is given that nobody knows of. */
async function persistently(
  timeoutMs: number,
  { onTrouble }: ClaimOptions,
  stop: AbortSignal,
  ask: (options: CallOptions) => Promise<Claimed[]>,
): Promise<Claimed[]> {
  const backOff = new BackOff();
  while (!stop.aborted) {
    try {
      return await ask({ retry: false, timeoutMs, signal: stop });
    } catch (error) {
      if (stop.aborted) break;
      if (!(error instanceof RpcError) || !(error.passing || error.reason === 'TOKEN_EXPIRED')) throw error;
      onTrouble?.(error);
      await pause(backOff.next(error), stop).catch(() => {});
    }
  }
  // Maybe the answer was under way when the call was cancelled.
  return ask({ retry: false, timeoutMs: 1000 }).catch(() => []);
}
