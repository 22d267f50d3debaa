import type { Sql } from '../db/sql.ts';
import { type Append, append, type Kept, kept } from './append.ts';

/** Whether two appends can be one: to the same log, and under the same lease if under any. What is kept by a request id stays for itself. */
export function areSame(one: Append, other: Append): boolean {
  return one.backupId === other.backupId && one.leaseToken === other.leaseToken && !one.request && !other.request;
}

/** Appends all of them as one, each behind the one before; undefined for each when their lease is not held. */
export async function appendSame(sql: Sql, appends: Append[]): Promise<(Kept | undefined)[]> {
  const [{ backupId, leaseToken }] = appends as [Append];
  const all = await append(
    sql,
    backupId,
    appends.flatMap(({ entries }) => entries),
    leaseToken,
  );
  if (!all) return appends.map(() => undefined);
  let lastId = all.firstId - 1n;
  return appends.map(({ entries }) => {
    const firstId = lastId + 1n;
    lastId += BigInt(entries.length);
    return kept({ ...all, firstId, lastId }, 0);
  });
}
