import { DIVIDED, type Engine, writeSetting } from './engine.ts';
import { keyOf, makeTwin, twinOf } from './layout.ts';
import type { Sql } from './sql.ts';
import { placeOf } from './transfer.ts';

/**
 * Makes twins of the tables, and triggers that write into them whatever changes from now on. Whoever was writing has committed when a trigger is
 * there. Part of a transaction.
 */
export async function begin(sql: Sql, engine: Engine): Promise<void> {
  await undo(sql);
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
export async function undo(sql: Sql): Promise<void> {
  await sql({ text: 'drop function if exists backup_mirror() cascade', values: [] });
  for (const table of DIVIDED) await sql({ text: `drop table if exists ${twinOf(table)}`, values: [] });
  await end(sql);
}

/** What is left of it when the twins have taken the places of the tables, whose triggers have gone with them. */
export async function end(sql: Sql): Promise<void> {
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
