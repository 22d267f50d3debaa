import { DISTRIBUTED, distribute } from './citus.ts';
import { DIVIDED, type Engine, PARTITIONS, readEngine, writeSetting } from './engine.ts';
import type { Sql } from './sql.ts';

/** The table that is to take the place of another one. */
export const twinOf = (table: string) => `${table}${NEXT}`;

/** Makes an empty twin beside each of these tables. Part of a transaction. */
export async function makeTwins(sql: Sql, tables: readonly string[], engine: Engine): Promise<void> {
  for (const table of tables) await makeTwin(sql, table, engine);
  if (engine === 'citus') await distribute(sql, tables.map(twinOf));
}

/**
 * Makes an empty table beside this one, laid out for the engine, with the same columns, checks, keys, indexes, storage, rights and owner. Its
 * indexes have names of their own until it takes the place of the other one.
 */
async function makeTwin(sql: Sql, table: string, engine: Engine): Promise<void> {
  const run = (text: string) => sql({ text, values: [] });
  const twin = twinOf(table);
  const { owner, options, grants } = await describe(sql, table);
  await sql({ text: `select set_config('role', $1, true)`, values: [owner] });
  const storage = options.length > 0 ? ` with (${options.join(', ')})` : '';
  const like = `create table ${twin} (like ${table} including all excluding indexes)`;
  if (!isDivided(table, engine)) await run(like + storage);
  else {
    await run(`${like} partition by hash (backupid)`);
    for (let i = 0; i < PARTITIONS; i++)
      await run(
        `create table ${partitionOf(table, i)} partition of ${twin} for values with (modulus ${PARTITIONS}, remainder ${i})${storage}`,
      );
  }
  for (const { name, definition, constraint } of await indexesOf(sql, table))
    await run(
      constraint
        ? `alter table ${twin} add constraint ${name}${NEXT} ${constraint}`
        : definition.replace(/^(CREATE (?:UNIQUE )?INDEX) \S+ ON (?:ONLY )?\S+/, `$1 ${name}${NEXT} ON ${twin}`),
    );
  for (const grant of grants) await run(grant.replace('$', twin));
}

/** Puts the twins in the places of the tables, which go, and records it. Part of a transaction that has locked the tables. */
export async function putTwins(sql: Sql, tables: readonly string[], engine: Engine): Promise<void> {
  const run = (text: string) => sql({ text, values: [] });
  for (const table of tables) {
    const indexes = await indexesOf(sql, twinOf(table));
    await run(`drop table ${table}`);
    await run(`alter table ${twinOf(table)} rename to ${table}`);
    for (const { name } of indexes) await run(`alter index ${name} rename to ${name.slice(0, -NEXT.length)}`);
  }
  await writeSetting(sql, 'engine', engine);
}

/**
 * Lays out a database for the engine in which nothing was written yet; says whether it did. Part of a transaction. A database that is laid out
 * otherwise stays as it is, empty or not: others may be about to use it.
 */
export async function layOut(sql: Sql, engine: Engine): Promise<boolean> {
  const tables = engine === 'citus' ? DISTRIBUTED : DIVIDED;
  await lockTables(sql, tables);
  if (engine === 'plain' || (await readEngine(sql)) !== 'plain') return false;
  for (const table of tables) {
    const [row] = await sql({ text: `select from ${table} limit 1`, values: [] });
    if (row) return false;
  }
  if (engine === 'citus') {
    await distribute(sql, tables);
    await writeSetting(sql, 'engine', engine);
    return true;
  }
  await makeTwins(sql, tables, engine);
  await putTwins(sql, tables, engine);
  return true;
}

/** Against everybody, until the transaction ends. */
export async function lockTables(sql: Sql, tables: readonly string[]): Promise<void> {
  await sql({ text: `lock table ${tables.join(', ')} in access exclusive mode`, values: [] });
}

const NEXT = '_next';

function isDivided(table: string, engine: Engine): boolean {
  return engine === 'partitioned' && (DIVIDED as readonly string[]).includes(table);
}

const partitionOf = (table: string, i: number) => `${table}_p${String(i).padStart(2, '0')}`;

/** Its owner, its storage parameters (those of its first partition, if it has any), and its rights as statements about a table `$`. */
async function describe(sql: Sql, table: string): Promise<{ owner: string; options: string[]; grants: string[] }> {
  const [row] = await sql<{ owner: string; options: string[] | null; grants: string[] }>({
    text: `
      select pg_get_userbyid(t.relowner) as owner,
             coalesce(t.reloptions, (select reloptions from pg_inherits join pg_class on oid = inhrelid where inhparent = t.oid order by relname limit 1)) as options,
             array(select format('grant %s on $ to %s%s', privilege_type, case grantee when 0 then 'public' else quote_ident(pg_get_userbyid(grantee)) end,
                                 case when is_grantable then ' with grant option' else '' end) from aclexplode(t.relacl)) as grants
      from pg_class t where t.oid = $1::regclass`,
    values: [table],
  });
  return { ...row!, options: row!.options ?? [] };
}

type Index = { name: string; definition: string; constraint: string | null };

async function indexesOf(sql: Sql, table: string): Promise<Index[]> {
  return sql<Index>({
    text: `
      select c.relname as name, pg_get_indexdef(c.oid) as definition,
             (select pg_get_constraintdef(k.oid) from pg_constraint k where k.conindid = c.oid and k.contype in ('p', 'u')) as constraint
      from pg_index i join pg_class c on c.oid = i.indexrelid where i.indrelid = $1::regclass order by 1`,
    values: [table],
  });
}

/** The columns of its key and their types. */
export function keyOf(sql: Sql, table: string): Promise<{ name: string; type: string }[]> {
  return sql({
    text: `
      select a.attname as name, format_type(a.atttypid, null) as type
      from pg_index i cross join lateral unnest(i.indkey::int2[]) with ordinality as k (attnum, n)
      join pg_attribute a on a.attrelid = i.indrelid and a.attnum = k.attnum
      where i.indrelid = $1::regclass and i.indisprimary order by k.n`,
    values: [table],
  });
}

/** Those of its columns that are written, separated by commas: what is generated is the same wherever it is. */
export async function columnsOf(sql: Sql, table: string): Promise<string> {
  const [row] = await sql<{ names: string }>({
    text: `select string_agg(attname, ', ' order by attnum) as names from pg_attribute
      where attrelid = $1::regclass and attnum > 0 and not attisdropped and attgenerated = ''`,
    values: [table],
  });
  return row!.names;
}
