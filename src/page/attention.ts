import { ErrorReason, StatusError } from '../errors.ts';
import { type Course, CourseView } from '../gen/backup/v1/course_pb.ts';
import type { Origin } from '../grpc/local.ts';
import type { Services } from './services.ts';
import { type Kind, kinds } from './status.ts';

export type ReportPage = { courses: Course[]; next: string };

/**
 * A page of the course report, of one status or of all. The service lists by status and in an order of each; a page goes on from one list to the
 * next, so that every one of them is an index scan. `from` is `next` of the page before; throws PAGE_TOKEN_INVALID when it is not.
 */
export async function reportPage(
  courses: Services['courses'],
  { kind, from, size }: { kind: Kind | undefined; from: string; size: number },
  origin: Origin,
): Promise<ReportPage> {
  const wanted = kind ? [kind] : kinds;
  const page: ReportPage = { courses: [], next: '' };
  let { group, token } = placeOf(from, wanted.length);
  for (; group < wanted.length; group++, token = '') {
    const { status, order } = wanted[group]!;
    const pageSize = size - page.courses.length;
    // Of a list that begins only behind the last row nothing is read.
    if (pageSize === 0) return { ...page, next: `${group}.` };
    const request = { filter: { statuses: [status] }, order, view: CourseView.REPORT, pageSize, pageToken: token };
    const answer = await courses.listCourses(request, origin);
    page.courses.push(...answer.courses);
    if (answer.nextPageToken) return { ...page, next: `${group}.${answer.nextPageToken}` };
  }
  return page;
}

function placeOf(from: string, most: number): { group: number; token: string } {
  if (from === '') return { group: 0, token: '' };
  const [, group, token] = /^(\d)\.(.*)$/.exec(from) ?? [];
  if (group !== undefined && Number(group) < most) return { group: Number(group), token: token! };
  throw new StatusError(ErrorReason.PAGE_TOKEN_INVALID, 'from: not a place in this report');
}
