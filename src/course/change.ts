import type { Sql } from '../db/sql.ts';
import { ErrorReason, StatusError } from '../errors.ts';
import type { Course } from './entity.ts';
import { lock } from './store.ts';

/** Which course, and as it was read when; an empty etag does not matter. */
export type Which = { courseId: bigint; etag: string };

/** A course, its row locked until the transaction ends. */
export async function locked(sql: Sql, { courseId, etag }: Which): Promise<Course> {
  const [course] = await lock(sql, { courseIds: [courseId] });
  if (!course) throw notFound(courseId);
  if (etag && etag !== etagOf(course)) throw stale(courseId);
  return course;
}

export function notFound(courseId: bigint): StatusError {
  return new StatusError(ErrorReason.COURSE_NOT_FOUND, `there is no course ${courseId}`);
}

export function stale(courseId: bigint): StatusError {
  return new StatusError(ErrorReason.ETAG_MISMATCH, `course ${courseId} has changed since it was read`);
}

/** The id is part of it: a course that was deleted and created anew has counted from 1 again. */
export function etagOf({ id, revision }: Pick<Course, 'id' | 'revision'>): string {
  return `${id}.${revision}`;
}
