import pg from 'pg';
import { DIVIDED, type Engine, readEngine, readNextEngine } from './engine.ts';
import { gather, spread, type Waiting } from './exchange.ts';
import { lockTables, putTwins } from './layout.ts';
import { whileLocked } from './locked.ts';
import { migrating } from './migrate.ts';
import { begin, end, undo } from './mirror.ts';
import { sqlOn, transaction } from './sql.ts';
import { copy, type Progress, type Step, verify } from './transfer.ts';

/**
 * Moves a database with data to another engine while replicas serve: every table gets a twin beside it, into which triggers write whatever
 * changes from then on; what was there before is copied in batches; and when both are proved to hold the same, the twins take the places of
 * the tables. Nothing is lost whenever it is stopped: until the last step the tables are what they were, and called again it goes on where it
 * was. Called for the engine that the database has, it abandons a move that was begun.
 *
 * Others wait at the beginning and at the end, each time for a lock that is given up after half a second and asked for again, and for a batch
 * that holds what they delete. To Citus, and from it, it is waited at the end until no replica serves (`exchange.ts`). Returns for how many milliseconds the last lock was held; undefined when there was nothing to do.
 */
export async function moveTo(
  url: string,
  engine: Engine,
  told: Progress,
  waiting: Waiting = () => {},
): Promise<number | undefined> {
  await using _turn = await migrating(url);
  await using pool = openPool(url);
  const sql = sqlOn(pool);
  const step: Step = work => whileLocked(() => transaction(pool, work), PATIENCE);
  const [is, next] = [await readEngine(sql), await readNextEngine(sql)];
  if (is === engine) {
    if (next) await step(undo);
    return undefined;
  }
  if (engine === 'citus' || is === 'citus') {
    const locked = await (engine === 'citus' ? spread(step, told, waiting) : gather(step, engine, told, waiting));
    return performance.now() - locked;
  }
  if (next !== engine) await step(sql => begin(sql, engine));
  for (const table of DIVIDED) await copy(step, table, told);
  await verify(sql, DIVIDED);
  let locked = 0;
  await step(async sql => {
    await lockTables(sql, DIVIDED);
    locked = performance.now();
    await putTwins(sql, DIVIDED, engine);
    await end(sql);
  });
  return performance.now() - locked;
}

/** How the database is laid out, and what it is being moved to, in words. */
export async function readState(url: string): Promise<string> {
  await using pool = openPool(url);
  const [engine, next] = [await readEngine(sqlOn(pool)), await readNextEngine(sqlOn(pool))];
  return next ? `${engine}, on its way to ${next}` : engine;
}

/** Waits for less time than PostgreSQL takes to find a deadlock: so it is never a client who has to give way. */
const LOCK_TIMEOUT_MS = 500;
/** However often somebody else has a lock. */
const PATIENCE = { attempts: Number.POSITIVE_INFINITY, pauseMs: 500 };

function openPool(url: string): pg.Pool & AsyncDisposable {
  const pool = new pg.Pool({
    connectionString: url,
    max: 1,
    application_name: 'backup-management engine',
    lock_timeout: LOCK_TIMEOUT_MS,
  });
  pool.on('error', () => {});
  return Object.assign(pool, { [Symbol.asyncDispose]: () => pool.end() });
}
