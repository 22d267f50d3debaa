import { setTimeout as delay } from 'node:timers/promises';
import { DISTRIBUTED, gathered } from './citus.ts';
import { dropAppends, makeAppend } from './citus-append.ts';
import { type Engine, readNextEngine } from './engine.ts';
import { bringAll, compare, follow } from './follow.ts';
import { columnsOf, lockTables, makeTwins, putTwins, twinOf } from './layout.ts';
import { begin, end } from './mirror.ts';
import type { Sql } from './sql.ts';
import { copy, type Progress, type Step, verify } from './transfer.ts';

/**
 * Told, as long as it lasts, of how many connections replicas of the former engine still have: it is waited for them. Statements of Citus are others
 * than those of one PostgreSQL, so the replicas of both do not serve at the same time.
 */
export type Waiting = (connections: number) => void | Promise<void>;

/**
 * Moves a database to Citus: it is copied and compared while replicas serve, and when they are gone what they have changed at last is brought and
 * the twins take the places of the tables. Returns when the last lock was taken, by `performance.now()`.
 */
export async function spread(step: Step, told: Progress, waiting: Waiting): Promise<number> {
  if ((await step(readNextEngine)) !== 'citus') await step(sql => begin(sql, 'citus'));
  for (const table of DISTRIBUTED) await copy(step, table, told);
  await follow(step);
  for (const table of DISTRIBUTED) await compare(step, table);
  await follow(step);
  const locked = await exchange(
    step,
    waiting,
    () => follow(step),
    async sql => {
      await bringAll(sql);
      await putTwins(sql, DISTRIBUTED, 'citus');
      await end(sql);
    },
  );
  await step(makeAppend);
  return locked;
}

/** Moves a database from Citus to another engine, in one transaction when the replicas are gone: tables on several nodes have no triggers. */
export async function gather(step: Step, engine: Engine, told: Progress, waiting: Waiting): Promise<number> {
  const nothing = () => Promise.resolve();
  const locked = await exchange(step, waiting, nothing, async sql => {
    await makeTwins(sql, DISTRIBUTED, engine);
    for (const table of DISTRIBUTED) {
      const columns = await columnsOf(sql, table);
      await sql({ text: `insert into ${twinOf(table)} (${columns}) select ${columns} from ${table}`, values: [] });
      const [copied] = await sql<{ rows: number }>({
        text: `select count(*)::int as rows from ${twinOf(table)}`,
        values: [],
      });
      await told(table, copied!.rows);
    }
    await verify(sql, DISTRIBUTED);
    await putTwins(sql, DISTRIBUTED, engine);
    await gathered(sql);
  });
  // Citus does that in no transaction in which it has asked several shards at once.
  await step(dropAppends);
  return locked;
}

/** Does the last step in a transaction in which nobody else may begin: a replica that starts reads the settings when it is connected. */
async function exchange(
  step: Step,
  waiting: Waiting,
  meanwhile: () => Promise<void>,
  work: (sql: Sql) => Promise<void>,
): Promise<number> {
  for (;;) {
    const connections = await step(connected);
    if (connections > 0) {
      await waiting(connections);
      await meanwhile();
      await delay(LOOK_MS);
      continue;
    }
    const locked = await step(async sql => {
      await lockTables(sql, ['backup_settings', ...DISTRIBUTED]);
      const began = performance.now();
      if ((await connected(sql)) > 0) return undefined;
      await work(sql);
      return began;
    });
    if (locked !== undefined) return locked;
  }
}

/** How many connections there are of replicas that serve, and of imports; one that starts has none before it is at its turn. */
async function connected(sql: Sql): Promise<number> {
  const [row] = await sql<{ count: number }>({
    text: `select count(*)::int as count from pg_stat_activity where datname = current_database()
      and application_name in ('backup-management', 'backup-management doorbell', 'backup-management import')`,
    values: [],
  });
  return row!.count;
}

/** Between two looks for replicas that are still there. */
const LOOK_MS = 1000;
