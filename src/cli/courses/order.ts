import { type Course, CourseStatus } from '../../gen/backup/v1/course_pb.ts';
import { millisOf } from '../terminal/times.ts';
import { lateness } from './status.ts';

/** What has to be looked at first: what failed, then what is late by more than a while, then warnings; in each the oldest first; the rest by next start. */
export function problemsFirst(courses: Course[], nowMs: number): Course[] {
  const keyed = courses.map(course => ({ course, key: keyOf(course, nowMs) }));
  return keyed.sort((a, b) => a.key[0] - b.key[0] || a.key[1] - b.key[1]).map(({ course }) => course);
}

function keyOf(course: Course, nowMs: number): [rank: number, since: number] {
  const next = course.nextStartTime ? millisOf(course.nextStartTime) : Number.MAX_SAFE_INTEGER;
  const last = course.lastEndTime ? millisOf(course.lastEndTime) : 0;
  if (course.lastStatus === CourseStatus.ERROR) return [0, last];
  if ((lateness(course, nowMs) ?? 0) > LATE_MS) return [1, next];
  if (course.lastStatus === CourseStatus.WARNING) return [2, last];
  return [3, next];
}

/** A start that has just come is none's fault: workers take one after the other. */
export const LATE_MS = 3_600_000;
