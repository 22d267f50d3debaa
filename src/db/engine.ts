import type { Sql } from './sql.ts';

/**
 * How the tables that grow with every entry are laid out: `plain`, each one table; `partitioned`, each divided by hash of the backup id; `citus`,
 * spread over the nodes of a cluster by the same (`citus.ts`). Entities and handlers are the same for all, and statements for the first two: what
 * differs stands here and in `layout.ts`, which makes the tables; for Citus beside what it differs from, by `onCitus()`.
 */
export const engines = ['plain', 'partitioned', 'citus'] as const;

export type Engine = (typeof engines)[number];

/**
 * The tables that are divided: what comes with entries, requests and payloads, and is found by its backup id. Every key begins with that, so
 * nothing has to be unique beyond a partition.
 *
 * Not those that have a row for a run or a log: they are small beside these, and looked through in other orders. With controllers divided by 16
 * PostgreSQL had 2.2 times the work for a claim (the queue is one, whatever the ids), 2.6 times for a finish, 4.7 times for a report and 15 times
 * to read one; and their `id` counts over all of them, which PostgreSQL 15 and 16 do not do on partitions. With heads divided, reading one took 1.6
 * times, and a batch of 32 appends, which lock theirs by the key, 1.4 times.
 */
export const DIVIDED = ['backup_logs', 'backup_log_requests', 'backup_payload_chunks'] as const;

/**
 * How many partitions a table has. A statement for one log opens one of them but plans for all: of reading what is new in a log PostgreSQL has
 * 0.29 ms of work on a plain table and 0.35, 0.44, 0.56 and 0.80 with 8, 16, 32 and 64 partitions; appends cost the same with any number.
 */
export const PARTITIONS = 16;

/** As the database records it; one that does not is plain. */
export async function readEngine(sql: Sql): Promise<Engine> {
  return ((await readSetting(sql, 'engine')) as Engine | undefined) ?? 'plain';
}

/** The engine that a move has begun to lead to, if one has. */
export async function readNextEngine(sql: Sql): Promise<Engine | undefined> {
  return (await readSetting(sql, 'engine_next')) as Engine | undefined;
}

export async function readSetting(sql: Sql, name: string): Promise<string | undefined> {
  const [row] = await sql<{ value: string }>({
    text: 'select value from backup_settings where name = $1',
    values: [name],
  });
  return row?.value;
}

/** Undefined deletes it. */
export async function writeSetting(sql: Sql, name: string, value: string | undefined): Promise<void> {
  if (value === undefined)
    return void (await sql({ text: 'delete from backup_settings where name = $1', values: [name] }));
  await sql({
    text: 'insert into backup_settings (name, value) values ($1, $2) on conflict (name) do update set value = excluded.value',
    values: [name, value],
  });
}

/** Fails unless the database is laid out for this engine. */
export async function requireEngine(sql: Sql, wanted: Engine): Promise<void> {
  const found = await readEngine(sql);
  if (found !== wanted) throw misfit(found, wanted);
}

/** Why a service with this setting does not start. */
export function misfit(found: Engine, wanted: Engine): Error {
  return new Error(
    `the database is ${found}, and ENGINE is ${wanted}: set it to ${found}, or run \`npm run cli -- engine ${wanted}\` first`,
  );
}

/** Whether the key of a table has refused a row. The error names a partition, and its key, where the table has any. */
export function isTaken(error: unknown, table: string): boolean {
  const { code, table: refusing = '', message } = error as { code?: string; table?: string; message: string };
  // Citus names a shard's key, and in the message only; of what it writes by COPY the code is that of an internal error.
  if (onCitus() && message.startsWith(`duplicate key value violates unique constraint "${table}_pkey_`)) return true;
  return code === '23505' && (refusing === table || new RegExp(`^${table}_p\\d+$`).test(refusing));
}

/** Says which engine this process works on: before its first statement, and once. */
export function workOn(engine: Engine): void {
  current = engine;
}

/** Whether statements are those for a cluster of Citus. It is asked where they differ, and what differs stands beside what it differs from. */
export function onCitus(): boolean {
  return current === 'citus';
}

let current: Engine = 'plain';
