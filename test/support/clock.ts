import type { Database } from './database.ts';

/** The database's own clock, in epoch seconds, which stands still until it is set. */
export type Clock = { set(seconds: bigint): Promise<void> };

/**
 * Puts a clock that the test sets in front of PostgreSQL's: whatever asks `now()` on a connection that is opened from here on is told its time.
 * Timers of the service run as ever.
 */
export async function standStill(database: Database, seconds: bigint): Promise<Clock> {
  await database.query('create schema test_clock');
  await database.query('create table test_clock.time (seconds bigint not null)');
  await database.query('insert into test_clock.time values ($1)', [seconds]);
  await database.query(
    `create function test_clock.now() returns timestamptz language sql stable as 'select to_timestamp(seconds) from test_clock.time'`,
  );
  const [{ name } = {}] = await database.query('select current_database() as name');
  await database.query(`alter database "${name}" set search_path = test_clock, pg_catalog, public`);
  return { set: async time => void (await database.query('update test_clock.time set seconds = $1', [time])) };
}
