import { ErrorReason, StatusError } from '../errors.ts';

export function courseNotFound(courseId: bigint): StatusError {
  return new StatusError(ErrorReason.COURSE_NOT_FOUND, `there is no course ${courseId}`);
}

export function staleCourse(courseId: bigint): StatusError {
  return new StatusError(ErrorReason.ETAG_MISMATCH, `course ${courseId} has changed since it was read`);
}
