import type { Sql } from './sql.ts';

/** Now in whole epoch seconds, in SQL: all times are the database's clock, a replica's own is never asked. */
export const epochNow = 'floor(extract(epoch from now()))::bigint';

/** Now in epoch milliseconds, in SQL: leases are finer than a second. */
export const epochMillis = 'floor(extract(epoch from now()) * 1000)::bigint';

/** Now in epoch microseconds, in SQL. */
export const epochMicros = 'floor(extract(epoch from now()) * 1000000)::bigint';

/** Now in whole epoch seconds; in a transaction, the time at which it began. */
export async function readClock(sql: Sql): Promise<bigint> {
  const [row] = await sql<{ now: string }>({ name: 'clock', text: `select ${epochNow} as now`, values: [] });
  return BigInt(row!.now);
}
