import { type Outcome, Status } from '../controller/lifecycle.ts';
import { onAllNodes } from '../db/shard.ts';
import type { Sql } from '../db/sql.ts';
import { type AppendRow, entryColumns, type NewEntry } from '../log/append.ts';
import { appendApart } from '../log/append-apart.ts';

/** A run that was held, and the end of a log. */
export type Ended = { n: string | null; status: Status; outcome: Outcome };
export type LogEnd = { backupid: string; lastid: string };

/**
 * What `settle` does where controllers and logs are on different nodes (Citus): the runs in one statement, and then one for each log, in the
 * order of their ids. Part of a transaction.
 */
export async function settleApart(
  sql: Sql,
  runs: { text: string; values: unknown[] },
  entriesOf: (n: number) => NewEntry[],
): Promise<{ runs: Ended[]; heads: LogEnd[] }> {
  const ended = await sql<Ended & { backupid: string; attempt: number }>(runs);
  const heads: LogEnd[] = [];
  await onAllNodes(sql);
  for (const { n, status, backupid, attempt } of ended.toSorted((a, b) => (a.backupid < b.backupid ? -1 : 1))) {
    const entries = entriesOf(Number(n));
    const seals = status >= Status.FINISHED_ERR;
    if (entries.length === 0 && !seals) continue;
    const values = [backupid, entries.length, ...entryColumns(entries), attempt];
    const [head] = await sql<AppendRow>(appendApart(values, { seals }));
    heads.push({ backupid, lastid: head!.lastid });
  }
  return { runs: ended, heads };
}
