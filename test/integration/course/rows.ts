import { randomInt } from 'node:crypto';
import type { Database } from '../../support/database.ts';

/** A course that no other test uses. */
export function newCourse(): bigint {
  return BigInt(randomInt(1, 2 ** 47));
}

export function newCourses(count: number): bigint[] {
  return Array.from({ length: count }, newCourse);
}

/** What a course row holds besides its number; seconds, 0 is never. */
export type Times = { start?: bigint; end?: bigint; next?: bigint; status?: string };

/** Writes rows as a run would leave them. */
export async function insert(database: Database, rows: (Times & { courseId: bigint })[]): Promise<void> {
  const column = (read: (row: Times & { courseId: bigint }) => unknown) => rows.map(read);
  await database.query(
    `insert into backup_courses (courseid, laststarttime, lastendtime, nextstarttime, laststatus)
     select * from unnest($1::bigint[], $2::bigint[], $3::bigint[], $4::bigint[], $5::varchar[])`,
    [
      column(row => row.courseId),
      column(row => row.start ?? 0n),
      column(row => row.end ?? 0n),
      column(row => row.next ?? 0n),
      column(row => row.status ?? '5'),
    ],
  );
}

export async function rowOf(database: Database, courseId: bigint): Promise<Record<string, unknown> | undefined> {
  return (await database.query('select * from backup_courses where courseid = $1', [courseId]))[0];
}

/** The database's clock in whole seconds. */
export async function clock(database: Database): Promise<bigint> {
  const [row] = await database.query('select floor(extract(epoch from now()))::bigint as now');
  return BigInt(row!['now'] as string);
}
