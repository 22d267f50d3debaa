import { Outcome } from '../controller/lifecycle.ts';
import { type Course, LastStatus, RunKind } from './entity.ts';
import { nextStarts, parseSchedule, type Schedule, startsBetween } from './schedule.ts';

/** The next start that a caller gives: a time in epoch seconds, or the first one of a schedule. */
export type Given = { time: bigint } | { schedule: Schedule } | undefined;

/** What became of a start. Times are epoch seconds. */
export type NewRun = {
  courseId: bigint;
  slot: bigint;
  kind: RunKind;
  backupId: string;
  outcome: Outcome;
  reason: string;
  startedAt: bigint;
  endedAt: bigint;
};

/** A course as it shall be, and the records that go with it. */
export type Change = { course: Course; runs: NewRun[] };

/** What a step needs to know: the database's time, and the schedule of courses that have none of their own. */
export type Circumstances = { now: bigint; fallback: Schedule | undefined };

/** The start that a course waits for; 0 when there is none. */
export function slotOf({ lastStatus, queuedFor, nextStartTime }: Course, now: bigint): bigint {
  if (lastStatus !== LastStatus.QUEUED) return nextStartTime;
  // Whoever asked for a run when one was due has asked for that one.
  return nextStartTime > 0n && nextStartTime <= now ? nextStartTime : queuedFor;
}

/** A worker has it. `slot` of a run that was given back is still that of the course. */
export function claimed(course: Course, backupId: string, { now, fallback }: Circumstances): Course {
  const slot = course.slot || slotOf(course, now) || now;
  const next = nextStart({ ...course, slot }, undefined, { now, fallback });
  return {
    ...course,
    lastStatus: LastStatus.UNFINISHED,
    lastStartTime: now,
    slot,
    nextStartTime: next,
    queuedFor: 0n,
    backupId,
  };
}

/** Its run has ended. */
export function ended(course: Course, outcome: Outcome, given: Given, circumstances: Circumstances): Change {
  const { now } = circumstances;
  const slot = course.slot || now;
  const next = nextStart({ ...course, slot }, given, circumstances);
  const { backupId, lastStartTime: startedAt } = course;
  const run = { ...record(course, slot, RunKind.RAN, ''), backupId, outcome, startedAt, endedAt: now };
  return {
    course: {
      ...course,
      lastStatus: statusAfter[outcome],
      lastEndTime: now,
      nextStartTime: next,
      slot: 0n,
      queuedFor: 0n,
    },
    runs: [run, ...missed(course, { slot, next, given }, circumstances)],
  };
}

/** Its run waits again, until `notBefore` if that is later. */
export function requeued(course: Course, notBefore: bigint, { now }: Circumstances): Course {
  const slot = course.slot || now;
  return {
    ...course,
    lastStatus: LastStatus.QUEUED,
    slot,
    queuedFor: notBefore > now ? notBefore : slot,
  };
}

/** Somebody wants it now. */
export function asked(course: Course, { now }: Circumstances): Course {
  if (course.lastStatus === LastStatus.QUEUED && course.queuedFor <= now) return course;
  return { ...course, lastStatus: LastStatus.QUEUED, queuedFor: now };
}

/** The start that is due, or else the coming one, is left out. */
export function skipped(course: Course, reason: string, given: Given, circumstances: Circumstances): Change {
  const { now } = circumstances;
  const slot = slotOf(course, now) || now;
  const next = nextStart({ ...course, slot }, given, circumstances);
  return {
    course: { ...course, lastStatus: LastStatus.SKIPPED, nextStartTime: next, slot: 0n, queuedFor: 0n },
    runs: [record(course, slot, RunKind.SKIPPED, reason), ...missed(course, { slot, next, given }, circumstances)],
  };
}

/** It gets another start and another schedule. One that was due will not come any more. */
export function rescheduled(
  course: Course,
  { next, schedule }: { next: bigint; schedule: string },
  circumstances: Circumstances,
): Change {
  const { now } = circumstances;
  const due = course.nextStartTime;
  const waits = course.lastStatus !== LastStatus.UNFINISHED && course.lastStatus !== LastStatus.QUEUED;
  const passed = waits && due > 0n && due <= now && due !== next;
  return {
    course: { ...course, nextStartTime: next, schedule },
    runs: passed
      ? [
          record(course, due, RunKind.MISSED, 'it was due when another start was set'),
          ...missed(course, { slot: due, next, given: undefined }, circumstances),
        ]
      : [],
  };
}

/** When a course starts next, `slot` being the start that it has had; 0 is never. */
export function nextStart(
  course: Pick<Course, 'schedule' | 'slot' | 'nextStartTime'>,
  given: Given,
  { now, fallback }: Circumstances,
): bigint {
  if (given && 'time' in given) return given.time;
  const schedule = scheduleOf(course, given, fallback);
  const { slot, nextStartTime } = course;
  // A run may end in the second of its own start, or be skipped before it.
  const from = slot >= now ? slot + 1n : now;
  if (schedule) return nextStarts(schedule, from, 1)[0] ?? 0n;
  return nextStartTime >= from ? nextStartTime : 0n;
}

/** Starts between that one and now that nobody will run: of the schedule, and the one that was set. */
function missed(
  course: Course,
  { slot, next, given }: { slot: bigint; next: bigint; given: Given },
  { now, fallback }: Circumstances,
): NewRun[] {
  const schedule = scheduleOf(course, given, fallback);
  const starts = schedule ? startsBetween(schedule, slot, now + 1n, MOST_MISSED) : [];
  const passed = course.nextStartTime > slot && course.nextStartTime <= now ? [course.nextStartTime] : [];
  return [...new Set([...starts, ...passed])]
    .filter(start => start !== next)
    .map(start => record(course, start, RunKind.MISSED, 'the run before it was late or took too long'));
}

function scheduleOf(
  { schedule }: Pick<Course, 'schedule'>,
  given: Given,
  fallback: Schedule | undefined,
): Schedule | undefined {
  if (given && 'schedule' in given) return given.schedule;
  return schedule ? parseSchedule(schedule) : fallback;
}

function record({ courseId }: Course, slot: bigint, kind: RunKind, reason: string): NewRun {
  return { courseId, slot, kind, backupId: '', outcome: 0, reason, startedAt: 0n, endedAt: 0n };
}

const statusAfter = {
  0: LastStatus.ERROR,
  [Outcome.SUCCEEDED]: LastStatus.OK,
  [Outcome.SUCCEEDED_WITH_WARNINGS]: LastStatus.WARNING,
  [Outcome.FAILED]: LastStatus.ERROR,
  [Outcome.CANCELLED]: LastStatus.ERROR,
  [Outcome.LOST]: LastStatus.ERROR,
};

/** Of a schedule of every minute that nobody has looked after for days, older ones are not recorded. */
const MOST_MISSED = 1000;
