import { type Outcome, Status } from '../controller/lifecycle.ts';
import { onAllNodes } from '../db/shard.ts';
import type { Sql } from '../db/sql.ts';
import { entryColumns, type NewEntry } from '../log/append.ts';
import { endApart } from '../log/append-apart.ts';

/** A run that was held, and the end of a log. */
export type Ended = { n: string | null; status: Status; outcome: Outcome };
export type LogEnd = { backupid: string; lastid: string };

/**
 * What `settle` does where controllers and logs are on different nodes (Citus): the runs in one statement, and then their logs in the order of their
 * ids. Part of a transaction.
 */
export async function settleApart(
  sql: Sql,
  runs: { text: string; values: unknown[] },
  entriesOf: (n: number) => NewEntry[],
): Promise<{ runs: Ended[]; heads: LogEnd[] }> {
  const ended = await sql<Ended & { backupid: string; attempt: number }>(runs);
  const ends = ended
    .map(({ n, status, backupid, attempt }) => ({
      backupId: backupid,
      entries: entriesOf(Number(n)),
      attempt,
      seals: status >= Status.FINISHED_ERR,
    }))
    .filter(({ entries, seals }) => entries.length > 0 || seals)
    .sort((a, b) => (a.backupId < b.backupId ? -1 : 1));
  if (ends.length === 0) return { runs: ended, heads: [] };
  await onAllNodes(sql);
  const columns = entryColumns(ends.flatMap(({ entries }) => entries));
  const logs = ends.map(({ entries, ...end }) => ({ ...end, count: entries.length }));
  return { runs: ended, heads: await sql<LogEnd>(endApart(logs, columns)) };
}
