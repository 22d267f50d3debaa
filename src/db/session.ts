import pg from 'pg';
import type { DatabaseOptions } from './orm.ts';

export type SessionOptions = Pick<DatabaseOptions, 'connectTimeoutMs' | 'statementTimeoutMs' | 'pooler'>;

/**
 * What all connections to the database are opened with. Behind a pooler in transaction mode a server's connection is another one for each
 * transaction: no prepared statement is there again, and what would be set for a session is refused or kept by nobody. The role has to say it.
 */
export function sessionOptions({ connectTimeoutMs, statementTimeoutMs, pooler }: SessionOptions): pg.PoolConfig {
  return {
    application_name: 'backup-management',
    connectionTimeoutMillis: connectTimeoutMs,
    // The server's own limit cannot be counted on when the connection itself is dead.
    query_timeout: statementTimeoutMs + 1000,
    keepAlive: true,
    ...(pooler
      ? { Client: UnnamingClient as unknown as typeof pg.Client }
      : {
          statement_timeout: statementTimeoutMs,
          // One whose replica is gone without a word would keep its locks for two hours, until TCP finds out.
          idle_in_transaction_session_timeout: statementTimeoutMs + 1000,
        }),
  };
}

/** Prepares every statement anew. */
class UnnamingClient extends pg.Client {
  override query(statement: unknown, ...rest: unknown[]): never {
    const query = super.query as (...args: unknown[]) => never;
    return query.call(this, isNamed(statement) ? { ...statement, name: undefined } : statement, ...rest);
  }
}

/** What submits itself, as a COPY does, has no name. */
function isNamed(statement: unknown): statement is { name: string } {
  return typeof statement === 'object' && statement !== null && 'name' in statement && !('submit' in statement);
}
