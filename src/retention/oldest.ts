import type { Sql } from '../db/sql.ts';

/** Which entries may go. */
export type LogRule = {
  /** Whole seconds; undefined, for one log only: whatever their age. */
  olderThan: bigint | undefined;
  /** Only of this log. */
  backupId?: string;
  /** Only of logs without a controller. */
  orphans?: boolean;
};

/** A log that has old entries at its front, or one without a controller that has none at all. */
export type AgedLog = {
  backupId: string;
  /** All that it has. */
  entries: bigint;
  /** Those of them that are in the table, and not in segments. */
  rows: bigint;
  orphan: boolean;
};

/**
 * The logs that a rule is about, the one whose first entry is the oldest first, and whether there are more than a call looks at. `before` is the
 * rule's age in epoch seconds.
 *
 * It looks at the first entry of every log, so many logs at a time: 100,000 logs take a second or two, twenty when the disk is cold, and a tenth
 * of a second when only those without a controller are asked for. An index on `created_at` would take 11 % more room and cost appends of 100 up
 * to a tenth, all day long, for what is asked once an hour. A BRIN index costs appends nothing, but finds pages: of ten million entries that
 * had not come in the order of their times it read all (4 s to find none, 30 s to find 10,000 logs), and after the first purge new entries
 * fill the pages of old ones. A column in the heads with the time of the first entry would be read in 0.07 s, but all five statements that
 * begin a log would have to keep it.
 */
export async function oldestLogs(
  sql: Sql,
  { backupId, orphans = false }: LogRule,
  before: bigint | undefined,
  signal: AbortSignal,
): Promise<{ logs: AgedLog[]; more: boolean }> {
  const given = [before ?? null, orphans];
  if (backupId) return { logs: toLogs(await sql<Row>({ text: ONE, values: [...given, backupId] })), more: false };
  let oldest: Row[] = [];
  let more = false;
  for await (const { after, upTo } of slices(sql, signal)) {
    const slice = upTo ? { text: SLICE, values: [...given, after, upTo] } : { text: LAST, values: [...given, after] };
    const rows = await sql<Row>(slice);
    oldest = [...oldest, ...rows].sort(byAge);
    more ||= oldest.length > MOST_LOGS;
    oldest.length = Math.min(oldest.length, MOST_LOGS);
  }
  return { logs: toLogs(oldest), more };
}

/** All keys of logs in parts: behind which one each begins and, but for the last one, with which one it ends. */
async function* slices(sql: Sql, signal: AbortSignal): AsyncGenerator<{ after: string; upTo: string | undefined }> {
  for (let after: string | undefined = ''; after !== undefined && !signal.aborted; ) {
    const [end]: { backupid: string }[] = await sql({
      text: `select backupid from backup_log_heads where backupid > $1 order by backupid offset ${PER_SLICE - 1} limit 1`,
      values: [after],
    });
    yield { after, upTo: end?.backupid };
    after = end?.backupid;
  }
}

type Row = { backupid: string; entries: string; rows: string; first: string; orphan: boolean };

const byAge = (a: Row, b: Row) => Number(a.first) - Number(b.first) || (a.backupid < b.backupid ? -1 : 1);

function toLogs(rows: Row[]): AgedLog[] {
  return rows.map(({ backupid, entries, rows, orphan }) => ({
    backupId: backupid,
    entries: BigInt(entries),
    rows: BigInt(rows),
    orphan,
  }));
}

// $1 age, $2 only without controller, $3 and $4 which logs: said of controllers, too, or each slice would read them all. `offset 0` keeps the looks
// at a first entry to one for each log, and to the logs that are asked for.
const oldest = (which: (backupid: string) => string) => `
  select backupid, entries, rows, coalesce(least(first, appended), 0) as first, orphan
  from (
    select log.*, case when moved
      then (select firstseconds from backup_log_segments s where s.backupid = log.backupid and s.lastid >= log.firstid order by s.lastid limit 1)
      else (select created_at from backup_logs e where e.backupid = log.backupid and e.id = log.firstid) end as first
    from (
      select h.backupid, h.firstid, h.lastid - h.firstid + 1 as entries, h.movedid >= h.firstid as moved,
             h.lastid - greatest(h.firstid - 1, h.movedid) as rows, nullif(h.lastmicros, 0) / 1000000 as appended,
             c.backupid is null as orphan
      from backup_log_heads h left join backup_controllers c on c.backupid = h.backupid and ${which('c.backupid')}
      where ${which('h.backupid')}
    ) log
    where orphan or not ($2 or entries = 0) offset 0
  ) found
  where $1::bigint is null or coalesce(least(first, appended), 0) < $1`;

const ONE = oldest(backupid => `${backupid} = $3`);
const SLICE = oldest(backupid => `${backupid} > $3 and ${backupid} <= $4`);
const LAST = oldest(backupid => `${backupid} > $3`);

const PER_SLICE = 10_000;
const MOST_LOGS = 10_000;
