import { type FilterObject, type FilterQuery, raw } from '@mikro-orm/core';
import type { MikroORM } from '@mikro-orm/postgresql';
import { Controller } from '../controller/entity.ts';
import { Status } from '../controller/lifecycle.ts';
import { fromRow, type Shown, shownColumns } from '../controller/row.ts';
import type { Row, Sql } from '../db/sql.ts';

/** A controller as it was read, and what tells this state of it from any other. */
export type Read = { row: Shown; version: string };

/** What a look at one backup id has found. */
export type Found = { version: string | undefined; removed: boolean };

/** These controllers as they are now; of the ids that are not in the answer there is none. */
export async function readControllers(sql: Sql, backupIds: readonly string[]): Promise<Map<string, Read>> {
  const rows = await sql<Row>({
    name: 'watch_controllers',
    text: `select ${shownColumns}, ${version} as version from backup_controllers c where c.backupid = any ($1)`,
    values: [backupIds],
  });
  return new Map(
    rows.map(row => [row['backupid'] as string, { row: fromRow(row), version: row['version'] as string }]),
  );
}

/** In which state each of these is, and which were deleted as far as that is remembered. */
export async function lookAtIds(sql: Sql, backupIds: readonly string[]): Promise<Map<string, Found>> {
  const rows = await sql<{ backupid: string; version: string | null; removed: boolean }>({
    name: 'watch_ids',
    text: `
      select wanted.backupid, case when c.backupid is not null then ${version} end as version, r.backupid is not null as removed
      from unnest($1::varchar[]) as wanted (backupid)
      left join backup_controllers c on c.backupid = wanted.backupid
      left join backup_removals r on r.backupid = wanted.backupid`,
    values: [backupIds],
  });
  return new Map(
    rows.map(row => [row.backupid, { version: row.version ?? undefined, removed: row.removed && !row.version }]),
  );
}

/** In which state each one is that meets the conditions, of up to `limit`. */
export async function lookForMatches(
  orm: MikroORM,
  conditions: FilterQuery<Controller>,
  limit: number,
): Promise<Map<string, string>> {
  // Two columns and no entities: all columns of 10,000 controllers as entities take twenty times as long.
  const rows: { backupid: string; version: string }[] = await orm.em
    .fork()
    .createQueryBuilder(Controller, 'c')
    .select([raw(`c.backupid, ${version} as version`)])
    .where(conditions as FilterObject<Controller>)
    .limit(limit)
    .execute('all', false);
  return new Map(rows.map(row => [row.backupid, row.version]));
}

/** Whatever was changed or deleted at or after a time, whether it ever matched or not: up to `limit` ids. */
export async function readChanged(sql: Sql, since: number, limit: number): Promise<string[]> {
  const rows = await sql<{ backupid: string }>({
    name: 'watch_changed',
    // All statuses by name, because the index begins with the status: ten short ranges instead of the whole table.
    text: `
      (select backupid from backup_controllers where status = any ($3) and updated_at >= $1 limit $2)
      union all
      (select backupid from backup_removals where created_at >= $1 limit $2)
      limit $2`,
    values: [since, limit, Object.values(Status)],
  });
  return rows.map(row => row.backupid);
}

// Reports of progress move no revision, other programs none at all, and a controller that was deleted and created anew begins again at the
// same one. The end of a lease is left out: it is renewed with every report, which is nothing to tell.
const version = `concat_ws('.', c.id, c.revision, c.status, c.updated_at, c.progress)`;
