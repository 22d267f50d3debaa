import { APPEND } from '../db/citus-append.ts';
import type { Statement } from '../db/sql.ts';

/** What goes with the entries. */
export type Also = {
  request?: { id: string; digest: Buffer; dropped: number };
  /** Behind which batch of a writer the entries come, and up to which they are. */
  writer?: { id: string; last: bigint; upTo: bigint };
};

/**
 * The statement for an append on Citus, whatever goes with it: `values` are $1 to $7 of the others, with the attempt for $7 where its lease ends in
 * the same transaction. It answers what they do; no row, when the lease is not held or the writer is elsewhere.
 */
export function appendApart(values: unknown[], { request, writer }: Also = {}): Statement {
  const lease = values[6] ?? 0;
  const held = typeof lease === 'string';
  return {
    ...(held ? { name: 'append-apart-held', text: HELD } : { name: 'append-apart', text: FREE }),
    values: [
      ...values.slice(0, 6),
      lease,
      request?.id ?? null,
      request?.digest ?? null,
      request?.dropped ?? null,
      writer?.id ?? null,
      writer?.last ?? null,
      writer?.upTo ?? null,
      false,
    ],
  };
}

/** What is the last in a log of an attempt; what comes to one that is sealed with it is late. */
export type LogEnding = { backupId: string; count: number; attempt: number; seals: boolean };

/**
 * The statement for the ends of logs, which it comes to in this order; `columns` are those of all their entries, so many of each. It answers
 * `backupid` and `lastid`. Part of a transaction.
 */
export function endApart(ends: readonly LogEnding[], columns: unknown[]): Statement {
  let last = 0;
  const lasts = ends.map(({ count }) => (last += count));
  return {
    name: 'end-apart',
    text: END,
    values: [
      ends.map(({ backupId }) => backupId),
      ends.map(({ count }) => count),
      lasts,
      ends.map(({ attempt }) => attempt),
      ends.map(({ seals }) => seals),
      ...columns,
    ],
  };
}

// The coordinator goes from log to log: each costs an exchange with its node, but none with the service.
const own = (array: string) => `(${array})[log.last - log.count + 1 : log.last]`;
const END = `
  select log.backupid, head.lastid
  from unnest($1::varchar[], $2::int[], $3::int[], $4::int[], $5::boolean[]) as log (backupid, count, last, attempt, seals)
  cross join lateral ${APPEND}(log.backupid, log.count, ${own('$6::smallint[]')}, ${own('$7::text[]')}, ${own('$8::bigint[]')},
    ${own('$9::int[]')}, log.attempt, null, null, null, null, null, null, log.seals) as head`;

const call = (attempt: string) => `
  select lastid, lastmicros, sealedid, attempt
  from ${APPEND}($1, $2, $3, $4, $5, $6, ${attempt}, $8, $9, $10, $11, $12, $13, $14)`;

const FREE = call('$7');

// The row is on the coordinator, locked against whoever takes the lease away. With it in the statement Citus does not hand the call on to a node.
const HELD = call(
  '(select attempt from backup_controllers where backupid = $1::varchar and leasetoken = $7::uuid for key share)',
);
