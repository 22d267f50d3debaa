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
