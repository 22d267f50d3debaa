import { DIVIDED, readSetting, writeSetting } from './engine.ts';
import { keyOf, twinOf } from './layout.ts';
import type { Sql } from './sql.ts';

/** Told of each batch: how many rows of the table were copied so far by this process. */
export type Progress = (table: string, rows: number) => void | Promise<void>;

/** Runs a part of a move in a transaction of its own. */
export type Step = <T>(work: (sql: Sql) => Promise<T>) => Promise<T>;

/**
 * Copies what has no twin yet, in the order of the key, and notes with each batch how far it is. The rows of a batch are locked until its commit:
 * else one that is deleted meanwhile would be copied after the trigger has looked for it.
 */
export async function copy(step: Step, table: (typeof DIVIDED)[number], told: Progress): Promise<void> {
  const [key, place] = await step(async sql => [await keyOf(sql, table), await readSetting(sql, placeOf(table))]);
  const names = key.map(({ name }) => name).join(', ');
  for (let [after, rows] = [place && (JSON.parse(place) as string[]), 0]; ; ) {
    const behind = after ? `where (${names}) > (${key.map(({ type }, i) => `$${i + 1}::${type}`).join(', ')})` : '';
    const [batch] = await step(async sql => {
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
    });
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

/** The setting that says how far a table was copied: the last key, in JSON. */
export const placeOf = (table: string) => `engine_next ${table}`;

/** Fails unless every table and its twin hold the same rows, by their number and the sum of their hashes, in one snapshot. */
export async function verify(sql: Sql): Promise<void> {
  const sum = (table: string) =>
    `(select (count(*), sum(hash_record_extended(row, 0)::numeric))::text from ${table} as row)`;
  for (const table of DIVIDED) await sql({ text: `analyze ${twinOf(table)}`, values: [] });
  for (const table of DIVIDED) {
    const [row] = await sql<{ is: string; copy: string }>({
      text: `select ${sum(table)} as is, ${sum(twinOf(table))} as copy`,
      values: [],
    });
    if (row!.is === row!.copy) continue;
    throw new Error(
      `the copy of ${table} is not what it is (${row!.copy} and not ${row!.is}): undo the move and begin anew`,
    );
  }
}
