import { create } from '@bufbuild/protobuf';
import { type FilterQuery, LockMode, type QueryOrderMap, raw } from '@mikro-orm/core';
import type { EntityManager, MikroORM } from '@mikro-orm/postgresql';
import { epochNow } from '../db/clock.ts';
import { ErrorReason, invalidFields, StatusError } from '../errors.ts';
import {
  type CourseFilter,
  CourseOrder,
  CourseSchema,
  CourseService,
  CourseStatus,
  type CourseUpsert,
  ListCoursesRequestSchema,
  type Course as Message,
} from '../gen/backup/v1/course_pb.ts';
import type { Handlers } from '../grpc/bind.ts';
import { paging } from '../paging.ts';
import { once } from '../request/once.ts';
import { ceilSeconds, fromSeconds, toSeconds } from '../timestamps.ts';
import type { Tokens } from '../tokens.ts';
import { Course, LastStatus } from './entity.ts';

type Needs = { orm: MikroORM; tokens: Tokens; defaultPageSize: number };

const { method } = CourseService;

export function courseService({ orm, tokens, defaultPageSize }: Needs): Handlers<typeof CourseService> {
  return {
    async getCourse({ courseId }) {
      const course = await orm.em.fork().findOne(Course, courseId);
      if (!course) throw notFound(courseId);
      return { course: toMessage(course) };
    },

    async listCourses(request) {
      const page = paging(tokens, ListCoursesRequestSchema, request, defaultPageSize);
      const { column, orderBy, beyond } = orders[request.order || CourseOrder.NEXT_START_FIRST]!;
      const courses = await orm.em.fork().find(
        Course,
        {
          $and: [
            ...conditions(request.filter),
            page.after ? beyond(BigInt(page.after[0]!), BigInt(page.after[1]!)) : {},
          ],
        },
        { orderBy, limit: page.size + 1 },
      );
      const last = courses.length > page.size ? courses[page.size - 1] : undefined;
      return {
        courses: courses.slice(0, page.size).map(toMessage),
        nextPageToken: last ? page.next([last[column], last.id]) : '',
      };
    },

    async upsertCourses(request) {
      const wanted = request.courses;
      // As a rule in CEL this took 25 ms for 1000.
      if (new Set(wanted.map(({ courseId }) => courseId)).size < wanted.length) {
        throw invalidFields({ field: 'courses', description: 'must name each course once' });
      }
      return once(orm, method.upsertCourses, wanted[0]!.courseId, request, async em => {
        const rows = await upsert(em, wanted);
        for (const { courseId, etag } of wanted) {
          if (etag && etag !== rows.get(courseId)!.etagBefore) throw stale(courseId);
        }
        return {
          courses: wanted.map(({ courseId }) => toMessage(rows.get(courseId)!.course)),
          created: [...rows.values()].filter(row => !row.etagBefore).length,
        };
      });
    },

    async deleteCourse(request) {
      const { courseId, etag } = request;
      return once(orm, method.deleteCourse, courseId, request, async em => {
        const course = await em.findOne(Course, courseId, { lockMode: LockMode.PESSIMISTIC_WRITE });
        if (!course) throw notFound(courseId);
        if (etag && etag !== etagOf(course)) throw stale(courseId);
        em.remove(course);
        return {};
      });
    },
  };
}

/** A course as it is now, and the etag that it had before; none when it is new. */
type Upserted = { course: Course; etagBefore: string | undefined };

// Always in the order of their ids, and no row is locked before: so two batches that share courses wait for each other instead of
// deadlocking.
async function upsert(em: EntityManager, wanted: CourseUpsert[]): Promise<Map<bigint, Upserted>> {
  const rows = await em.execute<Record<string, unknown>[]>(
    `insert into backup_courses as c (courseid, nextstarttime)
     select * from unnest(?::bigint[], ?::bigint[]) as wanted (courseid, nextstarttime) order by courseid
     on conflict (courseid) do update set nextstarttime = excluded.nextstarttime, revision = c.revision + 1
     returning c.*, xmax = 0 as created`,
    [
      literal(wanted.map(({ courseId }) => courseId)),
      literal(wanted.map(({ nextStartTime }) => toSeconds(nextStartTime))),
    ],
  );
  return new Map(
    rows.map(({ created, ...row }) => {
      const course = em.map(Course, row);
      const etagBefore = created ? undefined : etagOf({ id: course.id, revision: course.revision - 1 });
      return [course.courseId, { course, etagBefore }];
    }),
  );
}

// The ORM would spread an array over as many parameters as it has elements.
function literal(numbers: bigint[]): string {
  return `{${numbers.join(',')}}`;
}

type Order = {
  column: 'nextStartTime' | 'lastStartTime' | 'lastEndTime';
  orderBy: QueryOrderMap<Course>[];
  beyond: (time: bigint, id: bigint) => FilterQuery<Course>;
};

const orders: Record<number, Order> = {
  [CourseOrder.NEXT_START_FIRST]: {
    column: 'nextStartTime',
    orderBy: [{ [raw('nextstarttime = 0')]: 'asc' }, { nextStartTime: 'asc' }, { id: 'asc' }],
    beyond: (time, id) =>
      time === 0n
        ? { nextStartTime: 0n, id: { $gt: id } }
        : { $or: [{ nextStartTime: 0n }, { nextStartTime: { $gt: time } }, { nextStartTime: time, id: { $gt: id } }] },
  },
  [CourseOrder.LAST_START_LATEST]: latestFirst('lastStartTime'),
  [CourseOrder.LAST_END_LATEST]: latestFirst('lastEndTime'),
};

function latestFirst(column: 'lastStartTime' | 'lastEndTime'): Order {
  return {
    column,
    orderBy: [{ [column]: 'desc' }, { id: 'asc' }],
    beyond: (time, id) => ({ $or: [{ [column]: { $lt: time } }, { [column]: time, id: { $gt: id } }] }),
  };
}

function conditions(filter: CourseFilter | undefined): FilterQuery<Course>[] {
  if (!filter) return [];
  const all: FilterQuery<Course>[] = [];
  if (filter.statuses.length > 0) all.push({ lastStatus: { $in: filter.statuses.map(toColumn) } });
  if (filter.due) all.push({ nextStartTime: { $gt: 0n, $lte: raw(epochNow) } });
  if (filter.overdueBy) {
    // Both times are whole seconds, so a fraction makes no difference.
    all.push({ nextStartTime: { $gt: 0n, $lt: raw(`${epochNow} - ?`, [filter.overdueBy.seconds]) } });
  }
  if (filter.neverRun) all.push({ lastStartTime: 0n });
  if (filter.failingSince) {
    all.push({ lastStatus: LastStatus.ERROR, lastEndTime: { $gte: ceilSeconds(filter.failingSince) } });
  }
  return all;
}

const statuses: [CourseStatus, LastStatus][] = [
  [CourseStatus.OK, LastStatus.OK],
  [CourseStatus.UNFINISHED, LastStatus.UNFINISHED],
  [CourseStatus.SKIPPED, LastStatus.SKIPPED],
  [CourseStatus.WARNING, LastStatus.WARNING],
  [CourseStatus.NOT_YET_RUN, LastStatus.NOT_YET_RUN],
  [CourseStatus.QUEUED, LastStatus.QUEUED],
  [CourseStatus.ERROR, LastStatus.ERROR],
];

function toColumn(wanted: CourseStatus): LastStatus {
  return statuses.find(([status]) => status === wanted)![1];
}

function fromColumn(stored: LastStatus): CourseStatus {
  return statuses.find(([, column]) => column === stored)![0];
}

function notFound(courseId: bigint): StatusError {
  return new StatusError(ErrorReason.COURSE_NOT_FOUND, `there is no course ${courseId}`);
}

function stale(courseId: bigint): StatusError {
  return new StatusError(ErrorReason.ETAG_MISMATCH, `course ${courseId} has changed since it was read`);
}

function etagOf({ id, revision }: Pick<Course, 'id' | 'revision'>): string {
  return `${id}.${revision}`;
}

function toMessage(course: Course): Message {
  const [lastStartTime, lastEndTime, nextStartTime] = [
    course.lastStartTime,
    course.lastEndTime,
    course.nextStartTime,
  ].map(fromSeconds);
  return create(CourseSchema, {
    id: course.id,
    courseId: course.courseId,
    ...(lastStartTime && { lastStartTime }),
    ...(lastEndTime && { lastEndTime }),
    lastStatus: fromColumn(course.lastStatus),
    ...(nextStartTime && { nextStartTime }),
    etag: etagOf(course),
  });
}
