import pg from 'pg';
import { onCitus } from './engine.ts';
import type { DatabaseOptions } from './orm.ts';
import { sessionOptions } from './session.ts';
import { guard } from './wanted.ts';

/**
 * Connections for the few statements that run all the time, whose plan does not depend on their parameters: it is made once for each
 * connection. Left to itself PostgreSQL plans those that unnest arrays anew each time, because it knows the arrays' lengths then: a claim of one
 * took 1.6 ms instead of 0.9 and its finish 2.0 instead of 0.9. For other statements a plan that knows nothing of the parameters may be a bad one.
 */
export function openHotPool({
  url,
  mostWaiting,
  log,
  ...session
}: Omit<DatabaseOptions, 'poolSize' | 'lockTimeoutMs'> & { mostWaiting: number }) {
  const pool = new pg.Pool({
    connectionString: url,
    max: CONNECTIONS,
    ...sessionOptions(session),
    // Citus finds the shards of most statements by their parameters only, and refuses a plan without them.
    ...(!session.pooler && !onCitus() && { options: '-c plan_cache_mode=force_generic_plan' }),
  });
  guard(pool, mostWaiting);
  // One that breaks while nothing uses it is told here only; without a listener it would end the process.
  pool.on('error', error => log(`a connection has ended: ${error.message}`));
  return Object.assign(pool, { [Symbol.asyncDispose]: () => pool.end() });
}

/** As many as there are statements under way at a time: two each of claims, reports, finishes, appends and reads. */
const CONNECTIONS = 10;
