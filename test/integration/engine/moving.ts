import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { setTimeout as delay } from 'node:timers/promises';
import type { Engine } from '../../../src/db/engine.ts';
import { migrate } from '../../../src/db/migrate.ts';
import type { Replica } from '../../support/backend.ts';
import { createEmptyDatabase, type Database } from '../../support/database.ts';
import { append, newBackup } from '../../support/writing.ts';

// What tests of moves from one engine to another have in common: a database with data, who works on it meanwhile, and what it is compared by.

/** A new one, with so many logs of twenty entries; their ids are the MD5 of 1, 2, 3 ... */
export async function filled(logs: number, laidOut: Engine = 'plain'): Promise<Database> {
  const database = await createEmptyDatabase();
  await migrate(database.url, laidOut);
  await database.query(`
    insert into backup_log_heads (backupid, lastid, lastmicros) select md5(i::text), 20, 1 from generate_series(1, ${logs}) i;
    insert into backup_logs (backupid, id, loglevel, message, created_at, appended_micros)
    select md5(i::text), id, 30, 'line ' || id, 1700000000, nullif(id, 5) from generate_series(1, ${logs}) i, generate_series(1, 20) id;
    insert into backup_log_requests (backupid, requestid, digest, firstid, lastid, dropped, created_at)
    select md5(i::text), gen_random_uuid(), sha256(i::text::bytea), 1, 20, 0, extract(epoch from now())::bigint from generate_series(1, ${logs}) i;
    insert into backup_log_writers (backupid, writerid, lastnumber, updated_at)
    select md5(i::text), gen_random_uuid(), i, 1 from generate_series(1, ${logs} / 10) i;
    insert into backup_log_segments (backupid, lastid, firstid, key, checksum, bytes, levels, firstseconds, firstmicros, lastmicros, proof)
    select md5(i::text), 2, 1, 'k' || i, 'c', 1, '{"30": 2}', 1, 1, 1, 'p' from generate_series(1, ${logs} / 10) i;
    insert into backup_payload_chunks (backupid, uploadid, n, data)
    select md5(i::text), gen_random_uuid(), 1, repeat('A', 100) from generate_series(1, ${logs} / 10) i`);
  return database;
}

/** Appends to one log after another, or to this one only, and notes what was acknowledged. */
export async function write(
  replica: Replica,
  kept: Map<string, string[]>,
  signal: AbortSignal,
  only?: string,
): Promise<void> {
  for (let i = 0; !signal.aborted; i++) {
    const backupId = only ?? (await newBackup(replica));
    for (let k = 0; k < 10; k++) {
      const messages = [`${i} ${k} a`, `${i} ${k} b`];
      await append(replica, backupId, messages);
      kept.set(backupId, [...(kept.get(backupId) ?? []), ...messages]);
    }
  }
}

/** Deletes some of those that `filled` has made, and some that are new and complete, but for one. */
export async function remove(
  replica: Replica,
  kept: Map<string, string[]>,
  deleted: string[],
  signal: AbortSignal,
  spared?: string,
): Promise<void> {
  for (let i = 2500; !signal.aborted; i++) {
    const complete = ([backupId, messages]: [string, string[]]) =>
      messages.length === 20 && backupId !== spared && !deleted.includes(backupId);
    const done = [...kept].find(complete)?.[0];
    for (const backupId of [done, i < 3000 ? await newBackup(replica, md5(String(i))) : undefined]) {
      if (!backupId) continue;
      await replica.controllers.deleteController({ backupId, force: true });
      deleted.push(backupId);
    }
    await delay(20);
  }
}

/** Whether the database has what was acknowledged, and nothing of what was deleted. */
export async function holds(database: Database, kept: Map<string, string[]>, deleted: string[]): Promise<void> {
  for (const [backupId, messages] of kept) {
    const rows = await database.query('select id, message from backup_logs where backupid = $1 order by id', [
      backupId,
    ]);
    assert.deepEqual(
      rows,
      messages.map((message, i) => ({ id: String(i + 1), message })),
      backupId,
    );
  }
  assert.deepEqual(await database.query('select from backup_logs where backupid = any ($1)', [deleted]), []);
}

/** How many rows each table has, and what they say. */
export async function rowsOf(database: Database, tables: readonly string[]): Promise<unknown> {
  const found: Record<string, unknown> = {};
  for (const table of tables) {
    const rows = (await database.query(`select r::text as row from ${table} r`)).map(({ row }) => row as string);
    found[table] = [rows.length, md5(rows.sort().join('\n'))];
  }
  return found;
}

export type Described = { table: string; kind: string; name: string; definition: string };

/** Columns, keys, indexes, checks, storage and rights. */
export async function schemaOf(database: Database, tables: readonly string[]): Promise<Described[]> {
  return (await database.query(
    `
    with tables as (select * from pg_class where relname = any ($1) and relnamespace = 'public'::regnamespace)
    select relname as table, 'column' as kind, attname as name, concat_ws(' ', format_type(atttypid, atttypmod), attnotnull, attstorage, pg_get_expr(adbin, adrelid)) as definition
    from tables join pg_attribute a on attrelid = tables.oid left join pg_attrdef on (adrelid, adnum) = (attrelid, attnum) where attnum > 0
    union all select relname, 'constraint', conname, pg_get_constraintdef(c.oid) from tables join pg_constraint c on conrelid = tables.oid
    union all select relname, 'index', indexrelid::regclass::text, pg_get_indexdef(indexrelid) from tables join pg_index on indrelid = tables.oid
    union all select relname, 'right', grantee::regrole::text, privilege_type || is_grantable from tables, aclexplode(relacl)
    union all select relname, 'owner', relowner::regrole::text, '' from tables
    union all select relname, 'options', '', reloptions::text from tables where reloptions is not null
    order by 1, 2, 3, 4`,
    [tables],
  )) as Described[];
}

function md5(text: string): string {
  return createHash('md5').update(text).digest('hex');
}
