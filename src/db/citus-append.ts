import { createHash } from 'node:crypto';
import { epochMicros, epochNow } from './clock.ts';
import type { Sql } from './sql.ts';

// Types of the parameters: $1 backup id, $2 number of entries, $3 to $6 their columns, $7 the attempt, null when the lease is not held; $8 to $10 a
// request, its digest, and how many entries it has dropped; $11 a writer, $12 its last batch so far, $13 the last one with this; $14 whether the log
// is sealed.
const TYPES =
  'varchar, bigint, smallint[], text[], bigint[], int[], int, uuid, bytea, int, uuid, bigint, bigint, boolean';

// What was appended is one row; none, and nothing is appended, when the lease is not held or the writer is elsewhere. Each statement is one that
// Citus sends to one shard as it is: entries come with the head, which is of the same shard and which this transaction has locked.
const BODY = `
  #variable_conflict use_column
  declare
    head backup_log_heads;
  begin
    if $7 is null then
      return;
    end if;
    if $12 > 0 then
      update backup_log_writers w set lastnumber = $13, updated_at = ${epochNow}
      where w.backupid = $1 and w.writerid = $11 and w.lastnumber = $12;
    elsif $11 is not null then
      insert into backup_log_writers as w (backupid, writerid, lastnumber, updated_at) values ($1, $11, $13, ${epochNow})
      on conflict (backupid, writerid) do update
        set lastnumber = excluded.lastnumber, updated_at = excluded.updated_at where w.lastnumber = 0;
    end if;
    if $11 is not null and not found then
      return;
    end if;
    if $2 > 0 or $14 then
      insert into backup_log_heads as h (backupid, lastid, sealedid, lastmicros) values ($1, $2, case when $14 then $2 end, ${epochMicros})
      on conflict (backupid) do update set
        lastid = h.lastid + excluded.lastid,
        sealedid = case when excluded.sealedid is null then h.sealedid else h.lastid + excluded.lastid end,
        lastmicros = greatest(h.lastmicros, excluded.lastmicros)
      returning * into head;
    end if;
    if $2 > 0 then
      insert into backup_logs (backupid, id, loglevel, message, created_at, created_nanos, attempt, appended_micros)
      select h.backupid, h.lastid - $2 + e.n, e.level, e.message, coalesce(e.seconds, h.lastmicros / 1000000),
             coalesce(e.nanos, (h.lastmicros % 1000000 * 1000)::int), $7, case when e.seconds is not null then h.lastmicros end
      from backup_log_heads h, unnest($3, $4, $5, $6) with ordinality as e (level, message, seconds, nanos, n)
      where h.backupid = $1;
    end if;
    if $8 is not null then
      insert into backup_log_requests (backupid, requestid, digest, firstid, lastid, dropped, created_at)
      values ($1, $8, $9, head.lastid - $2 + 1, head.lastid, $10, head.lastmicros / 1000000);
    end if;
    return query select head.lastid, head.lastmicros, head.sealedid, $7;
  end`;

/**
 * The function that appends on Citus. What it does is in its name: replicas of the version before, which call another one, go on meanwhile.
 *
 * Processor time of all nodes for one entry, and for a hundred: by the statement of one PostgreSQL, which Citus pulls to the coordinator and copies
 * back, 2.7 ms and 4.3, under a lease 3.4 and 89; by a transaction of the service with the statements of the function 2.0 and 1.9, and with rows by
 * `values` 1.4 and 3.1, each in four exchanges with the service and four with the node; by this function 1.4 and 2.0 in one with each, under a lease
 * 1.6 and 2.4. Delegation that is forced in transactions, too, refuses ids that are compared as text, as those of every varchar are.
 *
 * The clock is that of the node that runs it. Whoever no longer waits for it is answered before the node has heard of that: it may still append.
 *
 * It is never to be called with columns of a subselect without a table (`from (select 1) as one, lateral ...`): Citus 13.2.2 ends the whole server.
 */
export const APPEND = `backup_append_${createHash('sha256').update(TYPES).update(BODY).digest('hex').slice(0, 8)}`;

/**
 * Makes the function. Where it is called alone and by itself Citus has the node do it that has the log, and one exchange is all; in a transaction, as
 * that of a lease which is locked, it runs on the coordinator, and its statements go to the shard one by one. Part of a transaction other than the
 * one that distributes the tables: Citus refuses that.
 */
export async function makeAppend(sql: Sql): Promise<void> {
  await sql({
    text: `create or replace function ${APPEND}(${TYPES})
      returns table (lastid bigint, lastmicros bigint, sealedid bigint, attempt int) language plpgsql as $append$${BODY}$append$`,
    values: [],
  });
  await sql({
    text: `select create_distributed_function($1, '$1', colocate_with => 'backup_log_heads')`,
    values: [`${APPEND}(${TYPES})`],
  });
}

/** Whether the function is there, and of the nodes that have the tables now. */
export async function hasAppend(sql: Sql): Promise<boolean> {
  const [row] = await sql({
    text: `select from pg_dist_object join pg_dist_partition using (colocationid)
      where classid = 'pg_proc'::regclass and objid = to_regproc($1) and logicalrelid = 'backup_log_heads'::regclass`,
    values: [APPEND],
  });
  return row !== undefined;
}

/** Drops it, and those of other versions. Part of a transaction. */
export async function dropAppends(sql: Sql): Promise<void> {
  const made = await sql<{ name: string }>({
    text: `select oid::regprocedure::text as name from pg_proc where proname ~ '^backup_append_'`,
    values: [],
  });
  for (const { name } of made) await sql({ text: `drop function ${name}`, values: [] });
}
