import { setTimeout as delay } from 'node:timers/promises';
import pg from 'pg';
import { DIVIDED, type Engine, readEngine, readNextEngine, readSetting, writeSetting } from './engine.ts';
import { lockTables, makeTwin, putTwins, twinOf } from './layout.ts';
import { isLocked, migrating } from './migrate.ts';
import { type Sql, sqlOn, transaction } from './sql.ts';

/** Told of each batch: how many rows of the table were copied so far by this process. */
export type Progress = (table: string, rows: number) => void | Promise<void>;

/**
 * Moves a database with data to another engine while replicas serve: every table gets a twin beside it, into which triggers write whatever
 * changes from then on; what was there before is copied in batches; and when both are proved to hold the same, the twins take the places of
 * the tables. Nothing is lost whenever it is stopped: until the last step the tables are what they were, and called again it goes on where it
 * was. Called for the engine that the database has, it abandons a move that was begun.
 *
 * Others wait at the beginning and at the end, each time for a lock that is given up after half a second and asked for again, and for a batch
 * that holds what they delete. Returns for how many milliseconds the last lock was held; undefined when there was nothing to do.
 */
export async function moveTo(url: string, engine: Engine, told: Progress): Promise<number | undefined> {
  await using _turn = await migrating(url);
  await using pool = openPool(url);
  const sql = sqlOn(pool);
  const next = await readNextEngine(sql);
  if ((await readEngine(sql)) === engine) {
    if (next) await patiently(() => transaction(pool, abandon));
    return undefined;
  }
  if (next !== engine) await patiently(() => transaction(pool, inTransaction => begin(inTransaction, engine)));
  for (const table of DIVIDED) await copy(pool, table, told);
  for (const table of DIVIDED) await sql({ text: `analyze ${twinOf(table)}`, values: [] });
  await verify(sql);
  // With `await`: else the connections are closed first.
  return await patiently(async () => {
    let locked = 0;
    await transaction(pool, async sql => {
      await lockTables(sql);
      locked = performance.now();
      await putTwins(sql, engine);
      await forget(sql);
    });
    return performance.now() - locked;
  });
}

/** How the database is laid out, and what it is being moved to, in words. */
export async function readState(url: string): Promise<string> {
  await using pool = openPool(url);
  const [engine, next] = [await readEngine(sqlOn(pool)), await readNextEngine(sqlOn(pool))];
  return next ? `${engine}, on its way to ${next}` : engine;
}

/** Waits for less time than PostgreSQL takes to find a deadlock: so it is never a client who has to give way. */
const LOCK_TIMEOUT_MS = 500;
const PAUSE_MS = 500;

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

/** However often it has to wait for a lock: each time those can go on who wait behind it. */
async function patiently<T>(step: () => Promise<T>): Promise<T> {
  for (;;) {
    try {
      return await step();
    } catch (error) {
      if (!isLocked(error)) throw error;
      await delay(PAUSE_MS);
    }
  }
}

/** Twins, and triggers that keep them up to date. Whoever was writing has committed when a trigger is there. */
async function begin(sql: Sql, engine: Engine): Promise<void> {
  await abandon(sql);
  for (const table of DIVIDED) await makeTwin(sql, table, engine);
  await sql({ text: MIRROR, values: [] });
  for (const table of DIVIDED) {
    const same = (await keyOf(sql, table)).map(({ name }) => `twin.${name} = gone.${name}`).join(' and ');
    for (const [event, tables] of [
      ['insert', 'new table as come'],
      ['update', 'old table as gone new table as come'],
      ['delete', 'old table as gone'],
    ] as const)
      await sql({
        text: `create trigger backup_mirror_${event} after ${event} on ${table} referencing ${tables}
          for each statement execute function backup_mirror('${same}')`,
        values: [],
      });
  }
  await writeSetting(sql, 'engine_next', engine);
}

/** Undoes what `begin` has made. */
async function abandon(sql: Sql): Promise<void> {
  await sql({ text: `drop function if exists backup_mirror() cascade`, values: [] });
  for (const table of DIVIDED) await sql({ text: `drop table if exists ${twinOf(table)}`, values: [] });
  await forget(sql);
}

async function forget(sql: Sql): Promise<void> {
  await sql({ text: 'drop function if exists backup_mirror()', values: [] });
  await writeSetting(sql, 'engine_next', undefined);
  for (const table of DIVIDED) await writeSetting(sql, placeOf(table), undefined);
}

// As the owner of the tables: a service's own role need not know that there are twins. A row that is there already was copied a moment ago.
const MIRROR = `
  create or replace function backup_mirror() returns trigger language plpgsql security definer set search_path from current as $$
  begin
    if tg_op <> 'INSERT' then
      execute format('delete from %I as twin using gone where %s', tg_table_name || '_next', tg_argv[0]);
    end if;
    if tg_op <> 'DELETE' then
      execute format('insert into %I select * from come on conflict do nothing', tg_table_name || '_next');
    end if;
    return null;
  end $$`;

/**
 * Copies what has no twin yet, in the order of the key, and notes with each batch how far it is. The rows of a batch are locked until its commit:
 * else one that is deleted meanwhile would be copied after the trigger has looked for it.
 */
async function copy(pool: pg.Pool, table: (typeof DIVIDED)[number], told: Progress): Promise<void> {
  const key = await keyOf(sqlOn(pool), table);
  const names = key.map(({ name }) => name).join(', ');
  const place = await readSetting(sqlOn(pool), placeOf(table));
  for (let [after, rows] = [place && (JSON.parse(place) as string[]), 0]; ; ) {
    const behind = after ? `where (${names}) > (${key.map(({ type }, i) => `$${i + 1}::${type}`).join(', ')})` : '';
    const [batch] = await patiently(() =>
      transaction(pool, async sql => {
        const found = await sql<{ last: string[] | null; count: number }>({
          text: `
            with batch as materialized (
              select * from ${table} ${behind} order by ${names} limit ${BATCH[table]} for share
            ), copied as (
              insert into ${twinOf(table)} select * from batch on conflict do nothing
            )
            select count(*) over ()::int as count, array[${key.map(({ name }) => `${name}::text`).join(', ')}] as last
            from batch order by ${key.map(({ name }) => `${name} desc`).join(', ')} limit 1`,
          values: after || [],
        });
        if (found[0]) await writeSetting(sql, placeOf(table), JSON.stringify(found[0].last));
        return found;
      }),
    );
    if (!batch) return;
    after = batch.last!;
    rows += batch.count;
    await told(table, rows);
  }
}

/** Rows: of payloads each has 24 KiB. */
const BATCH: Record<(typeof DIVIDED)[number], number> = {
  backup_logs: 5000,
  backup_log_requests: 5000,
  backup_payload_chunks: 100,
};

const placeOf = (table: string) => `engine_next ${table}`;

/** Fails unless every table and its twin hold the same rows, by their number and the sum of their hashes, in one snapshot. */
async function verify(sql: Sql): Promise<void> {
  const sum = (table: string) =>
    `(select (count(*), sum(hash_record_extended(row, 0)::numeric))::text from ${table} as row)`;
  for (const table of DIVIDED) {
    const [row] = await sql<{ is: string; copy: string }>({
      text: `select ${sum(table)} as is, ${sum(twinOf(table))} as copy`,
      values: [],
    });
    if (row!.is === row!.copy) continue;
    throw new Error(`the copy of ${table} is not what it is (${row!.copy} and not ${row!.is}): nothing has changed`);
  }
}

/** The columns of its key and their types. */
function keyOf(sql: Sql, table: string): Promise<{ name: string; type: string }[]> {
  return sql({
    text: `
      select a.attname as name, format_type(a.atttypid, null) as type
      from pg_index i cross join lateral unnest(i.indkey::int2[]) with ordinality as k (attnum, n)
      join pg_attribute a on a.attrelid = i.indrelid and a.attnum = k.attnum
      where i.indrelid = $1::regclass and i.indisprimary order by k.n`,
    values: [table],
  });
}
