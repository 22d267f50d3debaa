import { epochNow } from '../db/clock.ts';
import { onAllNodes } from '../db/shard.ts';
import type { Sql } from '../db/sql.ts';
import type { StoredLevel } from './entity.ts';

/** What the row of a segment says of its entries from `firstId` on. */
type Rest = { firstId: bigint; lastId: bigint; levels: StoredLevel[]; firstSeconds: bigint; firstMicros: bigint };

/**
 * Takes the entries before an id from the segments of a log, and returns how many those were: whole segments, whose objects go after the commit, and
 * the first ones of the segment of `rest`. Undefined, and nothing is taken, where a segment would go in part that `rest` is not about: it has come
 * since somebody looked. Whoever does the same at the same time waits, and finds them gone. Part of a transaction.
 */
export async function shortenSegments(
  sql: Sql,
  backupId: string,
  upTo: bigint,
  rest: Rest | undefined,
): Promise<bigint | undefined> {
  await onAllNodes(sql);
  const rows = await sql<{ firstid: string; lastid: string }>({
    text: `select firstid, lastid from backup_log_segments where backupid = $1 and firstid < $2 order by lastid for update`,
    values: [backupId, upTo],
  });
  const isWhole = ({ lastid }: { lastid: string }) => BigInt(lastid) < upTo;
  const partly = rows.find(row => !isWhole(row));
  if (partly && (!rest || String(rest.lastId) !== partly.lastid || rest.firstId !== upTo)) return undefined;
  await sql({
    text: `with gone as (delete from backup_log_segments where backupid = $1 and lastid = any ($2::bigint[]) returning backupid, key)
      insert into backup_segment_removals (backupid, key, due_at) select backupid, key, ${epochNow} from gone`,
    values: [backupId, rows.filter(isWhole).map(({ lastid }) => lastid)],
  });
  if (partly && rest) {
    await sql({
      text: `update backup_log_segments set firstid = $3, levels = $4::jsonb, firstseconds = $5, firstmicros = $6
        where backupid = $1 and lastid = $2`,
      values: [backupId, rest.lastId, upTo, JSON.stringify(rest.levels), rest.firstSeconds, rest.firstMicros],
    });
  }
  return rows.reduce((sum, row) => sum + (isWhole(row) ? BigInt(row.lastid) + 1n : upTo) - BigInt(row.firstid), 0n);
}
