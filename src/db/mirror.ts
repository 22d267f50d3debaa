import { DISTRIBUTED, gathered } from './citus.ts';
import { DIVIDED, type Engine, writeSetting } from './engine.ts';
import { keyOf, makeTwins, twinOf } from './layout.ts';
import type { Sql } from './sql.ts';
import { placeOf } from './transfer.ts';

/**
 * Makes twins of the tables, and triggers that write into them whatever changes from now on; or, where those are on the nodes of a cluster, that
 * note what has changed (`follow.ts`). Whoever was writing has committed when a trigger is there. Part of a transaction.
 */
export async function begin(sql: Sql, engine: Engine): Promise<void> {
  await undo(sql);
  const tables = engine === 'citus' ? DISTRIBUTED : DIVIDED;
  await makeTwins(sql, tables, engine);
  await sql({ text: engine === 'citus' ? NOTE : MIRROR, values: [] });
  for (const table of tables) {
    const key = (await keyOf(sql, table)).map(({ name }) => name);
    const argument =
      engine === 'citus'
        ? key.map(name => `${name}::text`).join(', ')
        : key.map(name => `twin.${name} = gone.${name}`).join(' and ');
    for (const [event, changed] of [
      ['insert', 'new table as come'],
      ['update', 'old table as gone new table as come'],
      ['delete', 'old table as gone'],
    ] as const)
      await sql({
        text: `create trigger backup_mirror_${event} after ${event} on ${table} referencing ${changed}
          for each statement execute function backup_mirror('${argument}')`,
        values: [],
      });
  }
  await writeSetting(sql, 'engine_next', engine);
}

/** Undoes what `begin` has made. */
export async function undo(sql: Sql): Promise<void> {
  await sql({ text: 'drop function if exists backup_mirror() cascade', values: [] });
  for (const table of DISTRIBUTED) await sql({ text: `drop table if exists ${twinOf(table)}`, values: [] });
  await gathered(sql);
  await end(sql);
}

/** What is left of it when the twins have taken the places of the tables, whose triggers have gone with them. */
export async function end(sql: Sql): Promise<void> {
  await sql({ text: 'drop function if exists backup_mirror()', values: [] });
  await sql({ text: 'drop table if exists backup_engine_changes', values: [] });
  await writeSetting(sql, 'engine_next', undefined);
  for (const table of DISTRIBUTED) await writeSetting(sql, placeOf(table), undefined);
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

// Citus cannot read a trigger's rows into a distributed table. And so nobody who writes waits for the nodes, or fails because one is away.
const NOTE = `
  create table backup_engine_changes (n bigint generated always as identity primary key, name text not null, key text[] not null);
  set local citus.enable_ddl_propagation = off;
  create or replace function backup_mirror() returns trigger language plpgsql security definer set search_path from current as $$
  begin
    if tg_op <> 'INSERT' then
      execute format('insert into backup_engine_changes (name, key) select %L, array[%s] from gone', tg_table_name, tg_argv[0]);
    end if;
    if tg_op <> 'DELETE' then
      execute format('insert into backup_engine_changes (name, key) select %L, array[%s] from come', tg_table_name, tg_argv[0]);
    end if;
    return null;
  end $$;
  set local citus.enable_ddl_propagation = on`;
