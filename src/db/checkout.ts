import type { Pool, PoolClient } from 'pg';

export type Release = (error?: Error | boolean) => void;
export type Taken = (error: unknown, client: PoolClient | undefined, release: Release) => void;
export type Lend = (taken: Taken) => void;

/** Puts itself between a pool and whoever takes a connection from it, for a statement or for longer; `lend` is what was there before. */
export function intercept(pool: Pool, between: (lend: Lend) => Lend): void {
  const lend = between(pool.connect.bind(pool) as Lend);
  Object.assign(pool, {
    connect(taken?: Taken): Promise<PoolClient> | undefined {
      if (taken) return void lend(taken);
      return new Promise((resolve, reject) =>
        lend((error, client) => (client ? resolve(client) : reject(error as Error))),
      );
    },
  });
}
