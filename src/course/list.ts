import { type FilterQuery, type QueryOrderMap, raw } from '@mikro-orm/core';
import { epochNow } from '../db/clock.ts';
import { type Course, LastStatus } from './entity.ts';

/** One order of a list of courses. */
export type Order = {
  column: 'nextStartTime' | 'lastStartTime' | 'lastEndTime';
  orderBy: QueryOrderMap<Course>[];
  beyond: (time: bigint, id: bigint) => FilterQuery<Course>;
};

/** By next start, earliest first; those without one come last. */
export const nextStartFirst: Order = {
  column: 'nextStartTime',
  orderBy: [{ [raw('nextstarttime = 0')]: 'asc' }, { nextStartTime: 'asc' }, { id: 'asc' }],
  beyond: (time, id) =>
    time === 0n
      ? { nextStartTime: 0n, id: { $gt: id } }
      : { $or: [{ nextStartTime: 0n }, { nextStartTime: { $gt: time } }, { nextStartTime: time, id: { $gt: id } }] },
};

export function latestFirst(column: 'lastStartTime' | 'lastEndTime'): Order {
  return {
    column,
    orderBy: [{ [column]: 'desc' }, { id: 'asc' }],
    beyond: (time, id) => ({ $or: [{ [column]: { $lt: time } }, { [column]: time, id: { $gt: id } }] }),
  };
}

/** Courses whose next start has come, and those that somebody has asked for. */
export function due(): FilterQuery<Course> {
  return { $or: [{ nextStartTime: { $gt: 0n, $lte: raw(epochNow) } }, { lastStatus: LastStatus.QUEUED }] };
}

/** Courses whose next start came more than so many seconds ago. */
export function overdueBy(seconds: bigint): FilterQuery<Course> {
  return { nextStartTime: { $gt: 0n, $lt: raw(`${epochNow} - ?`, [seconds]) } };
}
