import assert from 'node:assert/strict';
import type { MessageInitShape } from '@bufbuild/protobuf';
import { type Course, CourseOrder, type ListCoursesRequestSchema } from '../../../src/gen/backup/v1/course_pb.ts';
import { type Backend, startBackend } from '../../support/backend.ts';
import { refused } from '../../support/status.ts';
import { insert, newCourse, newCourses } from './rows.ts';

const INVALID = { code: 'INVALID_ARGUMENT', reason: 'PAGE_TOKEN_INVALID' } as const;
const COURSES = 250;

const seconds = (time: { seconds: bigint } | undefined) => time?.seconds ?? 0n;
const latestFirst = (a: bigint, b: bigint) => Number(b - a);

// As the protocol says them; rows with equal times follow each other by their number.
const orders: [name: string, order: CourseOrder, compare: (a: Course, b: Course) => number][] = [
  ['by next start', CourseOrder.NEXT_START_FIRST, byNextStart],
  [
    'by last start',
    CourseOrder.LAST_START_LATEST,
    (a, b) => latestFirst(seconds(a.lastStartTime), seconds(b.lastStartTime)),
  ],
  ['by last end', CourseOrder.LAST_END_LATEST, (a, b) => latestFirst(seconds(a.lastEndTime), seconds(b.lastEndTime))],
];

describe('The pages of CourseService.ListCourses', () => {
  let backend: Backend;
  let there: Set<bigint>;
  before(async () => {
    backend = await startBackend();
    const ids = newCourses(COURSES);
    there = new Set(ids);
    // Many equal times, many without one, and some far away.
    const time = (n: number) =>
      n % 4 === 0 ? 0n : n % 17 === 0 ? 253_402_300_799n - BigInt(n % 3) : BigInt(1 + (n % 23));
    const rows = ids.map((courseId, i) => ({
      courseId,
      start: time(i * 7),
      end: time(i * 11 + 1),
      next: time(i * 13 + 2),
    }));
    await insert(backend.database, rows);
  });
  after(() => backend[Symbol.asyncDispose]());

  const list = (request: MessageInitShape<typeof ListCoursesRequestSchema>) => backend.courses.listCourses(request);

  for (const [name, order, compare] of orders) {
    for (const pageSize of [1, 7, 100, 1000]) {
      it(`of ${pageSize} hold every course exactly once while others come and go, ${name}`, async () => {
        const disturbing = disturb();
        const seen = await collect({ order, pageSize });
        await disturbing;
        const mine = seen.filter(({ courseId }) => there.has(courseId));
        assert.equal(new Set(mine.map(({ id }) => id)).size, mine.length, 'a course came twice');
        assert.equal(mine.length, COURSES, 'a course is missing');
        assert.deepEqual(
          mine,
          mine.toSorted((a, b) => compare(a, b) || Number(a.id - b.id)),
        );
      });
    }
  }

  it('come in the order of the next start when none is asked for', async () => {
    const ids = async (order: CourseOrder) => (await list({ order, pageSize: 1000 })).courses.map(({ id }) => id);
    assert.deepEqual(await ids(CourseOrder.UNSPECIFIED), await ids(CourseOrder.NEXT_START_FIRST));
  });

  it('are 100 long by default', async () => {
    const page = await list({});
    assert.equal(page.courses.length, 100);
    assert.equal((await list({ pageToken: page.nextPageToken })).courses.length, 100);
  });

  it('say when there is nothing more', async () => {
    const whole = await list({ pageSize: 1000 });
    assert.equal(whole.nextPageToken, '');
    const exact = await list({ pageSize: whole.courses.length });
    assert.equal(exact.nextPageToken, '');
  });

  it('refuse a token of other arguments, of another list, or made up', async () => {
    const { nextPageToken: pageToken } = await list({ pageSize: 1 });
    await refused(list({ order: CourseOrder.LAST_END_LATEST, pageToken }), INVALID);
    await refused(list({ order: CourseOrder.NEXT_START_FIRST, pageToken }), INVALID);
    await refused(list({ filter: { due: true }, pageToken }), INVALID);
    await refused(list({ pageToken: `A${pageToken}` }), INVALID);
    await refused(backend.controllers.listControllers({ pageToken }), INVALID);
  });

  /** Makes, moves and deletes other courses for a while. */
  async function disturb(): Promise<void> {
    for (let i = 0; i < 25; i++) {
      const courseId = newCourse();
      const next = (seconds: number) => ({ courses: [{ courseId, nextStartTime: { seconds: BigInt(seconds) } }] });
      await backend.courses.upsertCourses(next(1 + (i % 23)));
      await backend.courses.upsertCourses(next(100 + i));
      await backend.courses.deleteCourse({ courseId });
    }
  }

  async function collect(request: MessageInitShape<typeof ListCoursesRequestSchema>): Promise<Course[]> {
    const seen: Course[] = [];
    for (let pageToken = ''; ; ) {
      const page = await list({ ...request, pageToken });
      assert.ok(page.courses.length <= request.pageSize!);
      seen.push(...page.courses);
      pageToken = page.nextPageToken;
      if (!pageToken) return seen;
    }
  }
});

function byNextStart(a: Course, b: Course): number {
  const [first, second] = [seconds(a.nextStartTime), seconds(b.nextStartTime)];
  return Number(first === 0n) - Number(second === 0n) || Number(first - second);
}
