import { fromRow, type Shown, shownColumns } from '../controller/row.ts';
import { onCitus } from '../db/engine.ts';
import type { Row, Sql } from '../db/sql.ts';
import { AUTOMATED } from './entity.ts';

/** The last automated run of a course, and how many entries its log has by level. */
export type Report = { controller: Shown; logCounts: { level: number; count: bigint }[] };

/**
 * One read for all courses of a page. A course that has no run of its own here is told of the newest automated controller with its number: one that was made by
 * hand, or before this service.
 */
export async function reportsOf(sql: Sql, courseIds: bigint[]): Promise<Map<bigint, Report>> {
  if (onCitus()) return reportsApart(sql, courseIds);
  const rows = await sql<Row & { course: string; counts: Counts | null }>({
    text: `
      select k.courseid as course, ${shownColumns}, logs.counts
      ${LAST_RUNS}
      cross join lateral (
        select jsonb_object_agg(loglevel, count) as counts
        from (
          select loglevel, sum(count) as count from (
            select loglevel, count(*) from backup_logs l where l.backupid = c.backupid group by loglevel
            union all
            select (moved.of->>'level')::smallint, (moved.of->>'count')::bigint
            from backup_log_segments s, jsonb_array_elements(s.levels) as moved (of) where s.backupid = c.backupid
          ) as parts group by loglevel
        ) as by_level
      ) as logs
      where k.courseid = any($1::bigint[])`,
    values: [courseIds],
  });
  return new Map(rows.map(row => [BigInt(row.course), reportOf(fromRow(row), row.counts)]));
}

/** The runs first, and then what their logs have: Citus looks from no controller into the logs, which are on other nodes. */
async function reportsApart(sql: Sql, courseIds: bigint[]): Promise<Map<bigint, Report>> {
  const runs = await sql<Row & { course: string }>({
    text: `select k.courseid as course, ${shownColumns} ${LAST_RUNS} where k.courseid = any($1::bigint[])`,
    values: [courseIds],
  });
  const logs = await sql<{ backupid: string; loglevel: number; count: string }>({
    text: `
      select backupid, loglevel, count(*) from backup_logs where backupid = any($1::varchar[]) group by backupid, loglevel
      union all
      select backupid, (moved.of->>'level')::smallint, (moved.of->>'count')::bigint
      from backup_log_segments s, jsonb_array_elements(s.levels) as moved (of) where s.backupid = any($1::varchar[])`,
    values: [runs.map(({ backupid }) => backupid)],
  });
  const counts = new Map<string, Counts>();
  for (const { backupid, loglevel, count } of logs) {
    const ofLog = counts.get(backupid) ?? {};
    ofLog[loglevel] = (ofLog[loglevel] ?? 0) + Number(count);
    counts.set(backupid, ofLog);
  }
  return new Map(
    runs.map(row => [BigInt(row.course), reportOf(fromRow(row), counts.get(row['backupid'] as string) ?? null)]),
  );
}

/** The courses `k` with their last runs `c`. */
const LAST_RUNS = `from backup_courses k
      join backup_controllers c on c.backupid = coalesce(
        (select own.backupid from backup_controllers own where own.backupid = k.backupid),
        (select other.backupid from backup_controllers other
         where other.type = 'course' and other.itemid = k.courseid and other.operation = 'backup' and other.purpose = ${AUTOMATED}
         order by other.created_at desc, other.id desc limit 1))`;

/** By level. */
type Counts = Record<string, number>;

function reportOf(controller: Shown, counts: Counts | null): Report {
  return { controller, logCounts: countsOf(counts) };
}

function countsOf(counts: Counts | null): Report['logCounts'] {
  return Object.entries(counts ?? {})
    .map(([level, count]) => ({ level: Number(level), count: BigInt(count) }))
    .sort((a, b) => a.level - b.level);
}
