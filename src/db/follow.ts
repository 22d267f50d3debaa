import { DISTRIBUTED } from './citus.ts';
import { columnsOf, keyOf, twinOf } from './layout.ts';
import type { Sql } from './sql.ts';
import { BATCH, between, keyAsText, type Place, type Step, sumOf } from './transfer.ts';

/** Brings what was noted so far into the twins, which are on other nodes. */
export async function follow(step: Step): Promise<void> {
  while ((await step(bring)) === MOST);
}

/** All of it, as part of a transaction that keeps others from changing more. */
export async function bringAll(sql: Sql): Promise<void> {
  while ((await bring(sql)) === MOST);
}

/**
 * Fails unless a table and its twin hold the same rows, part by part. A node shows what was committed elsewhere a moment later, so a part that is
 * not the same is looked at again while nobody may change the table.
 */
export async function compare(step: Step, table: (typeof DISTRIBUTED)[number]): Promise<void> {
  const key = await step(sql => keyOf(sql, table));
  await step(sql => sql({ text: `analyze ${twinOf(table)}`, values: [] }));
  for (let after: Place; ; ) {
    const upTo = await step(sql => lastOf(sql, after));
    if (!(await step(sql => isSame(sql, after, upTo)))) {
      await follow(step);
      await step(async sql => {
        await sql({ text: `lock table ${table} in share mode`, values: [] });
        await bringAll(sql);
        if (!(await isSame(sql, after, upTo)))
          throw new Error(`the copy of ${table} is not what it is: undo the move and begin anew`);
      });
    }
    if (!upTo) return;
    after = upTo;
  }

  /** The last key of the part behind this one; undefined when there are fewer rows. */
  async function lastOf(sql: Sql, after: Place): Promise<Place> {
    const { where, values } = between(key, after);
    const [row] = await sql<{ last: string[] }>({
      text: `select ${keyAsText(key)} as last from ${table} ${where}
        order by ${key.map(({ name }) => name).join(', ')} offset ${BATCH[table] - 1} limit 1`,
      values,
    });
    return row?.last;
  }

  async function isSame(sql: Sql, after: Place, upTo: Place): Promise<boolean> {
    const { where, values } = between(key, after, upTo);
    const sums: string[] = [];
    for (const one of [table, twinOf(table)]) {
      const [row] = await sql<{ sum: string }>({ text: `select ${sumOf(one, where)} as sum`, values });
      sums.push(row!.sum);
    }
    return sums[0] === sums[1];
  }
}

/** Up to `MOST` changes, as part of a transaction; says how many. The rows are as they are in the tables by now: what changes them later is noted. */
async function bring(sql: Sql): Promise<number> {
  const changes = await sql<{ name: string; key: string[] }>({ text: TAKE, values: [] });
  for (const table of DISTRIBUTED) {
    const keys = changes.filter(({ name }) => name === table).map(({ key }) => key);
    if (keys.length > 0) await renew(sql, table, keys);
  }
  return changes.length;
}

async function renew(sql: Sql, table: string, keys: string[][]): Promise<void> {
  const key = await keyOf(sql, table);
  const values = key.map((_, i) => keys.map(one => one[i]));
  const names = key.map(({ name }) => name).join(', ');
  const changed = `(select distinct * from unnest(${key.map(({ type }, i) => `$${i + 1}::${type}[]`).join(', ')})) as changed (${names})`;
  const same = key.map(({ name }) => `changed.${name} = t.${name}`).join(' and ');
  await sql({ text: `delete from ${twinOf(table)} t using ${changed} where ${same}`, values });
  const columns = await columnsOf(sql, table);
  const is = `select t.* from ${table} t join ${changed} on ${same}`;
  await sql({ text: `insert into ${twinOf(table)} (${columns}) select ${columns} from (${is}) as now`, values });
}

/** Changes that are brought at a time. */
const MOST = 2000;

const TAKE = `delete from backup_engine_changes
  where n <= (select max(n) from (select n from backup_engine_changes order by n limit ${MOST}) as first) returning name, key`;
