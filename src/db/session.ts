import type { Socket } from 'node:net';
import pg from 'pg';

export type SessionOptions = {
  /** How long to wait for a connection, from the server or from the pool. */
  connectTimeoutMs: number;
  /** How long one statement may run. */
  statementTimeoutMs: number;
  /** Whether a pooler in transaction mode, such as PgBouncer, is in between. */
  pooler?: boolean;
};

/**
 * What all connections of pools are opened with. Behind a pooler in transaction mode a server's connection is another one for each transaction:
 * no prepared statement is there again, and what would be set for a session is refused or kept by nobody. There the role has to say it.
 */
export function sessionOptions({ connectTimeoutMs, statementTimeoutMs, pooler = false }: SessionOptions) {
  return {
    Client: Session as unknown as typeof pg.Client,
    pooler,
    application_name: 'backup-management',
    connectionTimeoutMillis: connectTimeoutMs,
    // The server's own limit cannot be counted on when the connection itself is dead.
    query_timeout: statementTimeoutMs + 1000,
    keepAlive: true,
    ...(!pooler && {
      statement_timeout: statementTimeoutMs,
      // The transaction of a replica that is gone without a word would keep its locks for two hours, until TCP finds out.
      idle_in_transaction_session_timeout: statementTimeoutMs + 1000,
    }),
  };
}

/** It is not in the types of pg. */
type Wired = { connection: { stream: Socket } };

/** Breaks a connection: whoever waits for an answer on it is told now. */
export function cut(client: pg.ClientBase): void {
  (client as unknown as Wired).connection.stream.destroy();
}

type Release = (error?: Error | boolean) => void;

/**
 * A connection that leaves its pool by itself when a transaction can be neither begun nor undone on it. Kysely, below the EntityManager, gives back
 * no connection whose `begin` or `rollback` has failed: a pool of 5 was empty for good after 5 connections had broken within transactions.
 */
class Session extends pg.Client {
  readonly #pooler: boolean;
  #release: Release | undefined;

  constructor(options: pg.ClientConfig & { pooler: boolean }) {
    super(options);
    this.#pooler = options.pooler;
    // Whoever uses it is told by the statement. While it is lent nobody else listens, and a reset in the middle of a COPY ended the process.
    this.on('error', () => {});
  }

  /** The pool sets it with every use, and takes it once; whoever holds the connection may not know that it has left. */
  set release(release: Release) {
    let held = true;
    this.#release = error => {
      if (held) release(error);
      held = false;
    };
  }

  get release(): Release | undefined {
    return this.#release;
  }

  override query(statement: unknown, ...rest: unknown[]): never {
    const asked = this.#pooler && isNamed(statement) ? { ...statement, name: undefined } : statement;
    const answer = (super.query as (...args: unknown[]) => unknown).call(this, asked, ...rest);
    if (answer instanceof Promise) answer.catch((error: Error) => this.#failed(statement, error));
    return answer as never;
  }

  #failed(statement: unknown, error: Error): void {
    // What is asked next would wait behind it, for as long again.
    if (error.message === 'Query read timeout') cut(this);
    if (statement === 'begin' || statement === 'rollback') this.#release?.(error);
  }
}

/** What submits itself, as a COPY does, has no name. */
function isNamed(statement: unknown): statement is { name: string } {
  return typeof statement === 'object' && statement !== null && 'name' in statement && !('submit' in statement);
}
