import { epochNow } from '../db/clock.ts';
import { onCitus } from '../db/engine.ts';
import type { Sql } from '../db/sql.ts';
import {
  type Appended,
  type AppendRow,
  appended,
  appendSql,
  columns,
  FREE,
  HELD,
  isHeld,
  type NewEntry,
} from '../log/append.ts';
import { appendApart } from '../log/append-apart.ts';

/** Who sends numbered batches to a log. The empty lease token is none. */
export type Writer = { backupId: string; writerId: string; leaseToken: string };

/** Number of the last batch of this writer that was kept; 0 when it is not known. It is remembered from now on as long as at first. */
export async function openWriter(sql: Sql, { backupId, writerId }: Writer): Promise<bigint> {
  const [row] = await sql<{ lastnumber: string }>({
    name: 'writer-open',
    text: `update backup_log_writers set updated_at = ${epochNow} where backupid = $1 and writerid = $2 returning lastnumber`,
    values: [backupId, writerId],
  });
  return BigInt(row?.lastnumber ?? 0);
}

/**
 * Appends what comes behind the batch `last` of a writer, and notes `upTo` as the last batch that was kept; durable when this resolves.
 * `kept` is false, and nothing is appended, when `last` is not the last batch that was kept, or the lease is not held.
 *
 * The writer's row is locked before the log's head, by whoever deletes a log, too.
 */
export async function keep(
  sql: Sql,
  { backupId, writerId, leaseToken }: Writer,
  { last, upTo, entries }: { last: bigint; upTo: bigint; entries: NewEntry[] },
): Promise<{ kept: boolean; appended?: Appended }> {
  const values = columns(backupId, entries, leaseToken);
  const [row] = await sql<Omit<AppendRow, 'lastid'> & { lastid: string | null }>(
    onCitus()
      ? appendApart(values, { writer: { id: writerId, last, upTo } })
      : {
          ...(leaseToken ? { name: 'keep-held', text: HELD_KEEP } : { name: 'keep', text: FREE_KEEP }),
          values: [...values, writerId, last, upTo],
        },
  );
  if (!row?.lastid) return { kept: row !== undefined };
  return { kept: true, appended: appended({ ...row, lastid: row.lastid }, entries.length) };
}

/** Where a writer stands, and whether its lease is held, if it needs one. */
export async function lookAtWriter(
  sql: Sql,
  { backupId, writerId, leaseToken }: Writer,
): Promise<{ held: boolean; last: bigint | undefined }> {
  if (onCitus()) return lookApart(sql, { backupId, writerId, leaseToken });
  const [row] = await sql<{ held: boolean; last: string | null }>({
    text: `select $3::uuid is null or exists (select from backup_controllers where backupid = $1 and leasetoken = $3) as held,
                  (select lastnumber from backup_log_writers where backupid = $1 and writerid = $2) as last`,
    values: [backupId, writerId, leaseToken || null],
  });
  const { held, last } = row!;
  return { held, last: last === null ? undefined : BigInt(last) };
}

/** Controllers and writers are on different nodes, and Citus refuses the statement for both. */
async function lookApart(sql: Sql, { backupId, writerId, leaseToken }: Writer) {
  const held = !leaseToken || (await isHeld(sql, backupId, leaseToken));
  const [row] = await sql<{ lastnumber: string }>({
    text: 'select lastnumber from backup_log_writers where backupid = $1 and writerid = $2',
    values: [backupId, writerId],
  });
  return { held, last: row && BigInt(row.lastnumber) };
}

// Behind the parameters of an append: $8 the writer, $9 the last batch that was kept, $10 the last one that is kept with this. A writer that was
// forgotten since its last batch is not begun anew: its next batch would be its first.
const keepSql = (held: string, attempt: string) =>
  appendSql({
    before: `${held}writer as (
      insert into backup_log_writers as w (backupid, writerid, lastnumber, updated_at)
      select $1::varchar, $8::uuid, $10::bigint, ${epochNow} from ${attempt}
      where $9::bigint = 0 or exists (select from backup_log_writers where backupid = $1::varchar and writerid = $8::uuid)
      on conflict (backupid, writerid) do update
        set lastnumber = excluded.lastnumber, updated_at = excluded.updated_at where w.lastnumber = $9::bigint
      returning (select attempt from ${attempt}) as attempt
    ), `,
    attempt: '(select attempt from writer where $2::bigint > 0) as kept',
    answer: 'select lastid, lastmicros, sealedid, attempt from writer left join head on true',
  });

const FREE_KEEP = keepSql('', FREE);
const HELD_KEEP = keepSql(HELD, 'held');
