import { epochMillis } from '../db/clock.ts';
import type { Sql } from '../db/sql.ts';

/** How far a run is, as its worker says. `progress` is a decimal number, or undefined when only the lease is to be renewed. */
export type Report = { backupId: string; token: string; progress: string | undefined; reset: boolean };

/** What became of a report: undefined when the lease is lost. `leaseExpires` in epoch milliseconds. */
export type Reported = { leaseExpires: bigint; cancelRequested: boolean; progress: string } | undefined;

/**
 * Writes down progress and renews leases, each only if the token is the current one. One statement for all, with the rows locked in the order
 * of their ids, so that it never meets another one the wrong way round. No index changes and `controller` is not touched, so PostgreSQL keeps
 * the new version of a row on its page (a HOT update).
 */
export async function report(sql: Sql, reports: Report[]): Promise<Reported[]> {
  const merged = merge(reports);
  const rows = await sql<{
    backupid: string;
    leasetoken: string;
    leaseexpires: string;
    cancel: boolean;
    progress: string;
  }>({
    name: 'report',
    text: REPORT,
    values: [
      merged.map(({ backupId }) => backupId),
      merged.map(({ token }) => token),
      merged.map(({ progress }) => progress ?? null),
      merged.map(({ reset }) => reset),
    ],
  });
  const found = new Map(
    rows.map(row => [
      `${row.backupid} ${row.leasetoken}`,
      { leaseExpires: BigInt(row.leaseexpires), cancelRequested: row.cancel, progress: row.progress },
    ]),
  );
  return reports.map(one => found.get(keyOf(one)));
}

// An update changes a row once, whatever is joined to it: reports for the same lease become one, as if they had come one after the other.
function merge(reports: Report[]): Report[] {
  const merged = new Map<string, Report>();
  for (const next of reports) {
    const before = merged.get(keyOf(next));
    merged.set(keyOf(next), before ? after(before, next) : next);
  }
  return [...merged.values()];
}

function after(before: Report, next: Report): Report {
  if (next.progress === undefined) return before;
  if (next.reset || before.progress === undefined) return next;
  return Number(next.progress) > Number(before.progress) ? { ...next, reset: before.reset } : before;
}

function keyOf({ backupId, token }: Report): string {
  return `${backupId} ${token.toLowerCase()}`;
}

// A lease that is asked to end is not renewed: its end is the most that a worker has for stopping.
const REPORT = `
  with report as (
    select * from unnest($1::varchar[], $2::uuid[], $3::numeric[], $4::boolean[]) as report (backupid, token, progress, reset)
  ), held as materialized (
    select c.backupid, report.token, report.progress, report.reset
    from report join backup_controllers c on c.backupid = report.backupid and c.leasetoken = report.token
    order by c.backupid for no key update of c
  )
  update backup_controllers c set
    progress = case when held.progress is null then c.progress
                    when held.reset then held.progress
                    else greatest(c.progress, held.progress) end,
    leaseexpires = case when c.cancelrequestedat > 0 then c.leaseexpires else ${epochMillis} + c.leasems end
  from held where c.backupid = held.backupid and c.leasetoken = held.token
  returning c.backupid, c.leasetoken, c.leaseexpires, c.cancelrequestedat > 0 as cancel, c.progress`;
