import {
  ClaimDueCoursesRequestSchema,
  CourseFilterSchema,
  CourseRunFilterSchema,
  CourseStatus,
  CourseUpsertSchema,
  DeleteCourseRequestSchema,
  file_backup_v1_course,
  GetCourseRequestSchema,
  ListCourseRunsRequestSchema,
  ListCoursesRequestSchema,
  NextStartTimesRequestSchema,
  RunCourseNowRequestSchema,
  SkipCourseRequestSchema,
  UpsertCoursesRequestSchema,
} from '../../../src/gen/backup/v1/course_pb.ts';
import { describeRules, refuses, table } from '../../support/rules.ts';
import { badNanos, duration, etag, int64From, pageSize, pageToken, requestId, text, time } from './edges.ts';

const courses = (...ids: number[]) => ids.map(id => ({ courseId: BigInt(id) }));
const upTo = (most: number) => [...Array(most).keys()].map(n => n + 1);
const TEN_YEARS = 315_360_000n;

/** Text that must be there. */
function required(path: string, most: number) {
  const { accepts, refuses: refused } = text(path, most);
  return { accepts, refuses: { [path]: ['', ...refused[path]!] } };
}

describeRules(file_backup_v1_course, [
  table(GetCourseRequestSchema, { courseId: 1n }, { courseId: int64From('course_id', 1n) }),
  table(
    CourseFilterSchema,
    {},
    {
      statuses: {
        accepts: [[], upTo(7), Array(7).fill(CourseStatus.ERROR)],
        refuses: {
          statuses: [Array(8).fill(CourseStatus.ERROR)],
          'statuses[1]': [0, 8, -1, 2 ** 31 - 1].map(bad => [CourseStatus.OK, bad]),
        },
      },
      overdueBy: {
        accepts: [{ seconds: 0n }, { seconds: 0n, nanos: 999_999_999 }, { seconds: TEN_YEARS }],
        refuses: {
          overdue_by: [
            { seconds: -1n },
            { seconds: 0n, nanos: -1 },
            { seconds: TEN_YEARS, nanos: 1 },
            { seconds: TEN_YEARS + 1n },
            { seconds: 2n ** 63n - 1n },
            { seconds: -(2n ** 63n) },
            ...badNanos(5n), // a duration's nanoseconds have the sign of its seconds
          ],
        },
      },
      failingSince: {
        accepts: [{ seconds: 0n }, { seconds: 253_402_300_799n, nanos: 999_999_999 }],
        refuses: { failing_since: [{ seconds: -(2n ** 63n) }, { seconds: 2n ** 63n - 1n }, ...badNanos(5n)] },
      },
    },
  ),
  table(
    ListCoursesRequestSchema,
    {},
    {
      order: { accepts: [0, 1, 2, 3], refuses: { order: [4, -1] } },
      view: { accepts: [0, 1, 2], refuses: { view: [3, -1] } },
      pageSize,
      pageToken,
    },
  ),
  table(
    CourseUpsertSchema,
    { courseId: 1n },
    {
      courseId: int64From('course_id', 1n),
      nextStartTime: time('next_start_time', 1n),
      etag,
    },
  ),
  table(
    UpsertCoursesRequestSchema,
    { courses: courses(1) },
    {
      courses: {
        accepts: [courses(1), courses(2, 1), courses(...upTo(1000))],
        refuses: {
          courses: [[], courses(...upTo(1001)), courses(...upTo(10_000))],
        },
      },
      requestId,
    },
  ),
  table(DeleteCourseRequestSchema, { courseId: 1n }, { courseId: int64From('course_id', 1n), etag, requestId }),
  table(
    ClaimDueCoursesRequestSchema,
    { worker: 'worker-1' },
    {
      worker: required('worker', 100),
      maxCourses: { accepts: [0, 1, 1000], refuses: { max_courses: [-1, 1001, -(2 ** 31), 2 ** 31 - 1] } },
      leaseDuration: duration('lease_duration', 1n, 86_400n),
      userId: int64From('user_id', 0n),
      format: {
        accepts: ['', 'a', 'moodle2', 'a-b_9', 'x'.repeat(20)],
        refuses: { format: ['A', 'a b', 'x'.repeat(21), 'ä', 'a\0', 'a\n'] },
      },
      requestId,
    },
  ),
  table(
    SkipCourseRequestSchema,
    { courseId: 1n, reason: 'hidden' },
    { courseId: int64From('course_id', 1n), reason: required('reason', 1000), etag, requestId },
  ),
  table(RunCourseNowRequestSchema, { courseId: 1n }, { courseId: int64From('course_id', 1n), etag, requestId }),
  table(
    CourseRunFilterSchema,
    {},
    {
      courseId: {
        accepts: [0n, 1n, 2n ** 63n - 1n],
        refuses: { course_id: [-1n, -(2n ** 63n)] },
      },
      kinds: {
        accepts: [[], [1, 2, 3], [3, 3, 3]],
        refuses: { kinds: [[1, 2, 3, 1]], 'kinds[1]': [0, 4, -1].map(bad => [1, bad]) },
      },
    },
  ),
  table(ListCourseRunsRequestSchema, {}, { pageSize, pageToken }),
  table(
    NextStartTimesRequestSchema,
    {},
    { from: time('from', 0n), count: { accepts: [0, 1, 1000], refuses: { count: [-1, 1001, 2 ** 31 - 1] } } },
  ),
]);

describe('The rules of courses in requests', () => {
  it('name the whole path', () => {
    const upsert = (course: object) => ({ courses: [{ courseId: 1n }, { courseId: 2n, ...course }] });
    refuses(UpsertCoursesRequestSchema, upsert({ courseId: 0n }), 'courses[1].course_id');
    refuses(UpsertCoursesRequestSchema, upsert({ nextStartTime: { seconds: 0n } }), 'courses[1].next_start_time');
    refuses(UpsertCoursesRequestSchema, upsert({ nextStartTime: badNanos(5n)[0]! }), 'courses[1].next_start_time');
    refuses(UpsertCoursesRequestSchema, upsert({ schedule: { timeZone: 'UTC' } }), 'courses[1].schedule.rule');
    refuses(ListCoursesRequestSchema, { filter: { overdueBy: { seconds: -1n } } }, 'filter.overdue_by');
  });
});
