import { type Database, engine } from './database.ts';

/** Where connections are shown: of a cluster, those of all its nodes. */
export const activity = engine === 'citus' ? 'citus_stat_activity' : 'pg_stat_activity';

/** How many connections to a database wait for locks, with statements that are like this. */
export async function countWaiting(database: Database, like = '%'): Promise<number> {
  const [row] = await database.query(
    `select count(*)::int as n from ${activity}
     where datname = current_database() and wait_event_type = 'Lock' and backend_type = 'client backend' and query like $1`,
    [like],
  );
  return row!['n'] as number;
}
