import { APPEND } from '../db/citus-append.ts';
import type { Statement } from '../db/sql.ts';

/** What goes with the entries. */
export type Also = {
  request?: { id: string; digest: Buffer; dropped: number };
  /** Behind which batch of a writer the entries come, and up to which they are. */
  writer?: { id: string; last: bigint; upTo: bigint };
  /** Nothing is appended afterwards but what is late. */
  seals?: boolean;
};

/**
 * The statement for an append on Citus, whatever goes with it: `values` are $1 to $7 of the others, with the attempt for $7 where its lease ends in
 * the same transaction. It answers what they do; no row, when the lease is not held or the writer is elsewhere.
 */
export function appendApart(values: unknown[], { request, writer, seals = false }: Also = {}): Statement {
  const [lease = 0] = values.splice(6).map(value => value ?? undefined);
  const held = typeof lease === 'string';
  return {
    ...(held ? { name: 'append-apart-held', text: HELD } : { name: 'append-apart', text: FREE }),
    values: [
      ...values,
      lease,
      request?.id ?? null,
      request?.digest ?? null,
      request?.dropped ?? null,
      writer?.id ?? null,
      writer?.last ?? null,
      writer?.upTo ?? null,
      seals,
    ],
  };
}

const call = (attempt: string) => `
  select lastid, lastmicros, sealedid, attempt
  from ${APPEND}($1, $2, $3, $4, $5, $6, ${attempt}, $8, $9, $10, $11, $12, $13, $14)`;

const FREE = call('$7');

// The row is on the coordinator, locked against whoever takes the lease away. With it in the statement Citus does not hand the call on to a node.
const HELD = call(
  '(select attempt from backup_controllers where backupid = $1::varchar and leasetoken = $7::uuid for key share)',
);
