import type { Pool } from 'pg';
import { epochMicros } from '../db/clock.ts';
import { onCitus } from '../db/engine.ts';
import type { Archive, Logs } from '../segment/archive.ts';
import { type SegmentRow, segmentColumns, toSegmentRow } from '../segment/row.ts';
import { appendedAt } from '../segment/segment.ts';
import { readActiveApart } from './apart.ts';
import { type Head, headColumns, type RunFilter, toHead } from './head.ts';
import type { Active } from './look.ts';

export type { Active };

/** What has been active since `before` the time `since`, or before now; both in microseconds. */
export async function readActive(pool: Pool, since: bigint | undefined, before: bigint): Promise<Active> {
  if (onCitus()) return readActiveApart(pool, since, before);
  const { rows } = await pool.query({ name: 'log-active', text: ACTIVE, values: [since ?? null, before] });
  const found = rows.filter(row => row.backupid !== null);
  return { at: BigInt(rows[0].now), lastIds: new Map(found.map(row => [row.backupid, BigInt(row.lastid)])) };
}

/** Which logs to go through: those of ids behind `after` up to `upTo`; with a time (epoch microseconds), those that were active since then. */
export type Range = { after: string; upTo: string; since: bigint | undefined };

/** Up to `limit` logs that match, in the order of their backup ids, and where they stand. */
export async function readRange(
  pool: Pool,
  range: Range,
  filter: RunFilter | undefined,
  limit: number,
): Promise<Map<string, Head>> {
  const { operation, type, itemId, userId, purposes } = filter ?? {};
  const asked = [operation, type, itemId, userId, purposes].map(value => value ?? null);
  const { rows } = await pool.query({
    name: `log-range${range.since === undefined ? '' : '-active'}${filter ? '-matching' : ''}`,
    text: `select h.backupid, ${headColumns} from backup_log_heads h left join backup_controllers c on c.backupid = h.backupid
      where h.backupid > $1 and h.backupid <= $2 ${filter ? MATCHING : ''} ${range.since === undefined ? '' : activeSince(filter ? 9 : 4)}
      order by h.backupid limit $3`,
    values: [
      range.after,
      range.upTo,
      limit,
      ...(filter ? asked : []),
      ...(range.since === undefined ? [] : [range.since]),
    ],
  });
  return new Map(rows.map(row => [row.backupid, toHead(row)]));
}

const MATCHING = `
  and ($4::varchar is null or c.operation = $4) and ($5::varchar is null or c.type = $5) and ($6::bigint is null or c.itemid = $6)
  and ($7::bigint is null or c.userid = $7) and ($8::smallint[] is null or c.purpose = any ($8)) and c.backupid is not null`;

/** By the indexes of what is active: there may be many more logs that are not. */
const activeSince = (parameter: number) => `and h.backupid in (
  select backupid from backup_log_heads where activeminute >= $${parameter}::bigint / 60000000 and backupid > $1 and backupid <= $2
  union all
  select backupid from backup_controllers where created_at >= $${parameter}::bigint / 1000000 and backupid > $1 and backupid <= $2)`;

/** In each of these logs the last entry that was appended by a time (epoch microseconds), as far as entries of then are still kept. */
export async function readIdsAt(
  { pool, archive }: Logs,
  backupIds: readonly string[],
  time: bigint,
): Promise<Map<string, bigint | undefined>> {
  const rows = await (onCitus() ? idsApart(pool, backupIds, time) : idsTogether(pool, backupIds, time));
  const ids = new Map<string, bigint | undefined>();
  for (const row of rows) {
    const segment = toSegmentRow(row);
    const inTable = row['id'] === null ? undefined : BigInt(row['id'] as string);
    ids.set(row['backupid'] as string, segment ? await movedIdAt(archive, segment, time) : inTable);
  }
  return ids;
}

type Found = Promise<Record<string, unknown>[]>;

async function idsTogether(pool: Pool, backupIds: readonly string[], time: bigint): Found {
  const text = idsAt('unnest($1::varchar[]) as wanted (backupid)');
  return (await pool.query({ name: 'log-ids-at', text, values: [backupIds, time] })).rows;
}

/** Each by its shard, which Citus finds where the id itself stands everywhere: it joins no list with several of them. */
async function idsApart(pool: Pool, backupIds: readonly string[], time: bigint): Found {
  const text = `${idsAt('backup_log_heads wanted', '$1')} where wanted.backupid = $1`;
  const found = await Promise.all(
    backupIds.map(id => pool.query({ name: 'log-ids-at-apart', text, values: [id, time] })),
  );
  return found.flatMap(({ rows }) => rows);
}

// Backwards from the end: what is passed over is what came since then and is to be delivered anyway.
const idsAt = (wanted: string, id = 'wanted.backupid') => `select wanted.backupid, log.id, ${segmentColumns}
      from ${wanted}
      left join lateral (
        select id from backup_logs
        where backupid = ${id} and coalesce(appended_micros, created_at * 1000000 + created_nanos / 1000) <= $2::bigint
        order by id desc limit 1
      ) log on true
      left join lateral (
        select * from backup_log_segments
        where log.id is null and backupid = ${id} and firstmicros <= $2::bigint order by lastid desc limit 1
      ) s on true`;

/** The same in the segment that has it; undefined when that was removed meanwhile. */
async function movedIdAt(archive: Archive, row: SegmentRow, time: bigint): Promise<bigint | undefined> {
  if (row.lastMicros <= time) return row.lastId;
  const segment = await archive.open(row);
  return segment?.entries(row.firstId, row.lastId, true).find(entry => appendedAt(entry) <= time)?.id;
}

// `activeminute` and not `lastmicros`, which changes with every append: an index on that would have to be written each time.
const ACTIVE = `
  with clock as materialized (
    select now, coalesce($1::bigint, now) - $2::bigint as since from (select ${epochMicros} as now) clock
  )
  select now, active.backupid, active.lastid
  from clock left join lateral (
    select backupid, lastid from backup_log_heads where activeminute >= since / 60000000
    union all
    select c.backupid, coalesce(h.lastid, 0) from backup_controllers c left join backup_log_heads h on h.backupid = c.backupid
    where c.created_at >= since / 1000000 and (h.activeminute is null or h.activeminute < since / 60000000)
  ) active on true`;
