import { epochMicros } from '../db/clock.ts';
import type { Sql } from '../db/sql.ts';
import { type Append, type AppendRow, appended, entryColumns, type Kept, kept } from './append.ts';

/**
 * Appends to the logs of many backups in one statement: each append all or none, durable when this resolves, and in its order among those
 * to the same backup. One whose lease is not held appends nothing, and is undefined in the answer. A request id that was used before fails
 * the whole statement: whoever asks takes it apart then.
 *
 * Heads are locked in the order of their backup ids, behind controllers. The window function gives each append its place among those of its
 * backup whose lease is held; what entries need of that comes in arrays, because PostgreSQL takes each part of a statement for one row and
 * would compare all entries with all appends.
 */
export async function appendTogether(sql: Sql, appends: Append[]): Promise<(Kept | undefined)[]> {
  const entries = appends.flatMap(({ entries }, i) =>
    entries.map((entry, k) => ({ ...entry, one: i + 1, place: k + 1 })),
  );
  const requests = appends.flatMap(({ request }, i) => (request ? [{ ...request, one: i + 1 }] : []));
  const rows = await sql<AppendRow & { n: string }>({
    name: 'append-together',
    text: APPEND,
    values: [
      appends.map(({ backupId }) => backupId),
      appends.map(({ leaseToken }) => leaseToken || null),
      appends.map(({ entries }) => entries.length),
      entries.map(({ one }) => one),
      entries.map(({ place }) => place),
      ...entryColumns(entries),
      requests.map(({ one }) => one),
      requests.map(({ id }) => id),
      requests.map(({ digest }) => digest),
      requests.map(({ dropped }) => dropped),
    ],
  });
  const places = new Map(rows.map(row => [Number(row.n), row]));
  return appends.map(({ entries, request }, i) => {
    const place = places.get(i + 1);
    return place && kept(appended(place, entries.length), request?.dropped ?? 0);
  });
}

// `now()` and not the clock of the moment: some distributed engines allow only that in an update, and `greatest` keeps times in order although
// transactions wait for each other. The row of a lease is locked against whoever takes it away; reports of progress pass.
const APPEND = `
  with asked as materialized (
    select * from unnest($1::varchar[], $2::uuid[], $3::bigint[]) with ordinality as asked (backupid, token, count, n)
  ), held as materialized (
    select c.backupid, c.leasetoken, c.attempt from backup_controllers c
    where (c.backupid, c.leasetoken) in (select backupid, token from asked where token is not null)
    order by c.backupid for key share of c
  ), taken as materialized (
    select n, asked.backupid, count, coalesce(attempt, 0) as attempt,
           sum(count) over (partition by asked.backupid order by n)::bigint as upto, sum(count) over (partition by asked.backupid)::bigint as total
    from asked left join held on held.backupid = asked.backupid and held.leasetoken = asked.token
    where token is null or held.backupid is not null
  ), head as materialized (
    insert into backup_log_heads as h (backupid, lastid, lastmicros)
    select distinct backupid, total, ${epochMicros} from taken order by backupid
    on conflict (backupid) do update
      set lastid = h.lastid + excluded.lastid, lastmicros = greatest(h.lastmicros, excluded.lastmicros)
    returning backupid, lastid, lastmicros, sealedid
  ), placed as materialized (
    select n, taken.backupid, lastid - total + upto - count as after, count, lastmicros, sealedid, attempt from taken join head using (backupid)
  ), place as materialized (
    select array_agg(after order by n) as after, array_agg(lastmicros order by n) as micros, array_agg(attempt order by n) as attempt
    from asked left join placed using (n)
  ), logged as (
    insert into backup_logs (backupid, id, loglevel, message, created_at, created_nanos, attempt, appended_micros)
    select ($1::varchar[])[e.one], place.after[e.one] + e.place, e.level, e.message,
           coalesce(e.seconds, place.micros[e.one] / 1000000), coalesce(e.nanos, place.micros[e.one] % 1000000 * 1000), place.attempt[e.one],
           case when e.seconds is not null then place.micros[e.one] end
    from place, unnest($4::int[], $5::int[], $6::smallint[], $7::text[], $8::bigint[], $9::int[]) as e (one, place, level, message, seconds, nanos)
    where place.after[e.one] is not null
  ), remembered as (
    insert into backup_log_requests (backupid, requestid, digest, firstid, lastid, dropped, created_at)
    select backupid, r.id, r.digest, after + 1, after + count, r.dropped, lastmicros / 1000000
    from unnest($10::int[], $11::uuid[], $12::bytea[], $13::int[]) as r (one, id, digest, dropped) join placed on placed.n = r.one
  )
  select n, after + count as lastid, lastmicros, sealedid, attempt from placed`;
