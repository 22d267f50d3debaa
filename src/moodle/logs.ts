import { epochMicros } from '../db/clock.ts';
import { onAllNodes } from '../db/shard.ts';
import type { Sql } from '../db/sql.ts';
import { clean } from './batch.ts';
import type { Written } from './rows.ts';
import type { SourceRow } from './source.ts';

/**
 * Appends entries to the logs of their backups, numbered from each log's head in the order of Moodle's ids. What was imported before is known by
 * `backup_log_imports`, whose rows are locked: so it does not matter whether an import is repeated, was killed, or runs twice at once, nor
 * what the service itself has appended meanwhile.
 */
export async function writeLogs(sql: Sql, rows: SourceRow[]): Promise<Written> {
  const byBackup = Map.groupBy(rows, row => clean(row['backupid']!).text);
  const backupIds = [...byBackup.keys()].sort();
  const done = new Map(
    (
      await sql<{ backupid: string; sourceid: string }>({
        text: `insert into backup_log_imports as i (backupid, sourceid) select backupid, -1 from unnest($1::text[]) as given (backupid) order by backupid
               on conflict (backupid) do update set sourceid = i.sourceid returning backupid, sourceid`,
        values: [backupIds],
      })
    ).map(({ backupid, sourceid }) => [backupid, BigInt(sourceid)]),
  );
  await onAllNodes(sql);
  let cleaned = 0;
  const fresh = backupIds.flatMap(backupId => {
    const after = done.get(backupId)!;
    const entries = byBackup.get(backupId)!.filter(row => BigInt(row['id']!) > after);
    return entries.map((row, i) => {
      const message = clean(row['message'] ?? null);
      if (message.cleaned) cleaned++;
      return { backupId, row, message: message.text, place: i + 1, count: entries.length };
    });
  });
  if (fresh.length > 0) {
    await sql({
      text: APPEND,
      values: [
        fresh.map(({ backupId }) => backupId),
        fresh.map(({ place }) => place),
        fresh.map(({ count }) => count),
        fresh.map(({ row }) => row['loglevel']),
        fresh.map(({ message }) => message),
        fresh.map(({ row }) => row['timecreated']),
        fresh.map(({ row }) => row['id']),
      ],
    });
  }
  return { imported: fresh.length, there: rows.length - fresh.length, cleaned, refused: [] };
}

const APPEND = `
  with given as (
    select * from unnest($1::text[], $2::int[], $3::int[], $4::smallint[], $5::text[], $6::bigint[], $7::bigint[])
      as given (backupid, place, count, level, message, seconds, sourceid)
  ), log as (
    select backupid, count, max(sourceid) as sourceid from given group by backupid, count order by backupid
  ), head as (
    insert into backup_log_heads as h (backupid, lastid, lastmicros) select backupid, count, ${epochMicros} from log order by backupid
    on conflict (backupid) do update set lastid = h.lastid + excluded.lastid, lastmicros = greatest(h.lastmicros, excluded.lastmicros)
    returning backupid, lastid, lastmicros
  ), moved as (
    update backup_log_imports i set sourceid = log.sourceid from log where i.backupid = log.backupid
  )
  insert into backup_logs (backupid, id, loglevel, message, created_at, appended_micros)
  select backupid, head.lastid - given.count + given.place, given.level, given.message, given.seconds, lastmicros
  from given join head using (backupid)`;

/** Seals the logs of finished runs that were imported, so that a tail of one ends; returns how many. */
export async function seal(sql: Sql): Promise<number> {
  const sealed = await sql({
    text: `insert into backup_log_heads as h (backupid, lastid, sealedid)
           select c.backupid, 0, 0 from backup_controllers c left join backup_log_heads h on h.backupid = c.backupid
           where c.status >= 900 and h.sealedid is null order by c.backupid
           on conflict (backupid) do update set sealedid = h.lastid returning 1`,
    values: [],
  });
  return sealed.length;
}
