import type { EntityManager } from '@mikro-orm/postgresql';
import type { ClientBase, Pool } from 'pg';

/** A statement with its parameters $1, $2 and so on; one with a name is prepared once for each connection. */
export type Statement = { name?: string; text: string; values: unknown[] };

export type Row = Record<string, unknown>;

/** Runs a statement where the caller says: on any connection, or in a transaction. */
export type Sql = <R = Row>(statement: Statement) => Promise<R[]>;

export function sqlOn(connection: Pool | ClientBase): Sql {
  return async <R>(statement: Statement) => (await connection.query(statement)).rows as R[];
}

/** In the transaction of an EntityManager. `em.execute` would write the values into the text, and spread arrays over it. */
export function sqlIn(em: EntityManager): Sql {
  return async <R>({ text, values }: Statement) => {
    const query = { kind: 'RawNode', sqlFragments: [text], parameters: [] } as const;
    const { rows } = await em
      .getKysely()
      .executeQuery({ sql: text, parameters: values, query, queryId: { queryId: '' } });
    return rows as R[];
  };
}

/** The number of a column that may be null. */
export function toBigint(column: unknown): bigint | null {
  return column === null ? null : BigInt(column as string);
}

/**
 * Deletes the rows that meet a condition, and returns how many they were. In batches, each a transaction of its own, and past whatever another
 * replica is deleting: every replica may do this, and none waits for another. A place in a table (`ctid`) is one in each of its partitions.
 */
export async function deleteInBatches(
  pool: Pool,
  { table, where, values }: { table: string; where: string; values: unknown[] },
  signal: AbortSignal,
): Promise<number> {
  let total = 0;
  for (let deleted = BATCH; deleted === BATCH && !signal.aborted; total += deleted) {
    const { rowCount } = await pool.query(
      `with old as materialized (select tableoid, ctid from ${table} where ${where} limit ${BATCH} for update skip locked)
       delete from ${table} where ctid = any (array(select ctid from old)) and (tableoid, ctid) in (select tableoid, ctid from old)`,
      values,
    );
    deleted = rowCount ?? 0;
  }
  return total;
}

const BATCH = 1000;

/** Runs statements in one transaction; what it throws undoes them. */
export async function transaction<T>(pool: Pool, work: (sql: Sql) => Promise<T>): Promise<T> {
  const client = await pool.connect();
  let broken: Error | undefined;
  try {
    await client.query('begin');
    const result = await work(sqlOn(client));
    await client.query('commit');
    return result;
  } catch (error) {
    await client.query('rollback').catch((failure: Error) => {
      broken = failure;
    });
    throw error;
  } finally {
    client.release(broken);
  }
}
