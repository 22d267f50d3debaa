import { CourseOrder, CourseStatus } from '../gen/backup/v1/course_pb.ts';

/** A status of courses: its name in addresses and style sheets, its text for people, and the order in which its courses are shown. */
export type Kind = { status: CourseStatus; name: string; text: string; order: CourseOrder };

/** What needs attention most comes first; within, what has just ended, or what is to start next and may be late. */
export const kinds: readonly Kind[] = [
  { status: CourseStatus.ERROR, name: 'error', text: 'Error', order: CourseOrder.LAST_END_LATEST },
  { status: CourseStatus.WARNING, name: 'warning', text: 'Warning', order: CourseOrder.LAST_END_LATEST },
  { status: CourseStatus.SKIPPED, name: 'skipped', text: 'Skipped', order: CourseOrder.NEXT_START_FIRST },
  { status: CourseStatus.UNFINISHED, name: 'running', text: 'Running', order: CourseOrder.LAST_START_LATEST },
  { status: CourseStatus.QUEUED, name: 'queued', text: 'Queued', order: CourseOrder.NEXT_START_FIRST },
  { status: CourseStatus.NOT_YET_RUN, name: 'not-yet-run', text: 'Not yet run', order: CourseOrder.NEXT_START_FIRST },
  { status: CourseStatus.OK, name: 'ok', text: 'OK', order: CourseOrder.NEXT_START_FIRST },
];

export function kindOf(status: CourseStatus): Kind | undefined {
  return kinds.find(kind => kind.status === status);
}

/** The kind that a name in an address stands for; undefined for one that there is not. */
export function kindNamed(name: string | null): Kind | undefined {
  return kinds.find(kind => kind.name === name);
}
