import type { DISTRIBUTED } from './citus.ts';
import { readSetting, writeSetting } from './engine.ts';
import { columnsOf, keyOf, twinOf } from './layout.ts';
import type { Sql } from './sql.ts';

/** Told of each batch: how many rows of the table were copied so far by this process. */
export type Progress = (table: string, rows: number) => void | Promise<void>;

/** Runs a part of a move in a transaction of its own. */
export type Step = <T>(work: (sql: Sql) => Promise<T>) => Promise<T>;

/** The tables of which an engine divides or distributes some. */
type Table = (typeof DISTRIBUTED)[number];

type Key = { name: string; type: string }[];

/** A key, as text; undefined is before the first one or behind the last one. */
export type Place = string[] | undefined;

/**
 * Copies what has no twin yet, in the order of the key, and notes with each batch how far it is. The rows of a batch are locked until its commit:
 * else one that is deleted meanwhile would be copied after the trigger has looked for it.
 */
export async function copy(step: Step, table: Table, told: Progress): Promise<void> {
  const [key, columns, place] = await step(async sql => [
    await keyOf(sql, table),
    await columnsOf(sql, table),
    await readSetting(sql, placeOf(table)),
  ]);
  const names = key.map(({ name }) => name).join(', ');
  for (let [after, rows] = [place && (JSON.parse(place) as string[]), 0]; ; ) {
    const { where, values } = between(key, after || undefined);
    const [batch] = await step(async sql => {
      const found = await sql<{ last: string[] | null; count: number }>({
        text: `
            with batch as materialized (
              select * from ${table} ${where} order by ${names} limit ${BATCH[table]} for share
            ), copied as (
              insert into ${twinOf(table)} (${columns}) select ${columns} from batch on conflict do nothing
            )
            select count(*) over ()::int as count, ${keyAsText(key)} as last
            from batch order by ${key.map(({ name }) => `${name} desc`).join(', ')} limit 1`,
        values,
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

/** The condition that a key is behind one place and not behind another. */
export function between(key: Key, after: Place, upTo?: Place): { where: string; values: string[] } {
  const values: string[] = [];
  const bound = (sign: string, place: Place) =>
    place
      ? [
          `(${key.map(({ name }) => name).join(', ')}) ${sign} (${key.map(({ type }, i) => `$${values.push(place[i]!)}::${type}`).join(', ')})`,
        ]
      : [];
  const conditions = [...bound('>', after), ...bound('<=', upTo)];
  return { where: conditions.length > 0 ? `where ${conditions.join(' and ')}` : '', values };
}

export const keyAsText = (key: Key) => `array[${key.map(({ name }) => `${name}::text`).join(', ')}]`;

/** Rows: of payloads each has 24 KiB. */
export const BATCH: Record<Table, number> = {
  backup_log_heads: 5000,
  backup_logs: 5000,
  backup_log_requests: 5000,
  backup_log_writers: 5000,
  backup_log_segments: 5000,
  backup_payload_chunks: 100,
};

/** The setting that says how far a table was copied: the last key, in JSON. */
export const placeOf = (table: string) => `engine_next ${table}`;

/** Fails unless every one of these tables and its twin hold the same rows, by their number and the sum of their hashes, in one snapshot. */
export async function verify(sql: Sql, tables: readonly string[]): Promise<void> {
  for (const table of tables) await sql({ text: `analyze ${twinOf(table)}`, values: [] });
  for (const table of tables) {
    const [row] = await sql<{ is: string; copy: string }>({
      text: `select ${sumOf(table)} as is, ${sumOf(twinOf(table))} as copy`,
      values: [],
    });
    if (row!.is === row!.copy) continue;
    throw new Error(
      `the copy of ${table} is not what it is (${row!.copy} and not ${row!.is}): undo the move and begin anew`,
    );
  }
}

/** Of a table's rows, or some of them: their number and the sum of their hashes. */
export function sumOf(table: string, where = ''): string {
  return `(select (count(*), sum(hash_record_extended(row, 0)::numeric))::text from ${table} as row ${where})`;
}
