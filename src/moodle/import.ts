import type { Pool } from 'pg';
import { type Sql, transaction } from '../db/sql.ts';
import { batchesOf } from './batch.ts';
import { seal, writeLogs } from './logs.ts';
import { controllers, courses, type Refused, type Shape, type Written, writeRows } from './rows.ts';
import type { Source, SourceRow, Table } from './source.ts';

/** What became of the rows of a table. All is well when `imported` and `there` together are `source`. */
export type Tally = {
  table: Table;
  /** Rows that Moodle has. */
  source: number;
  /** Written now. */
  imported: number;
  /** Found in the service, and left as they were. */
  there: number;
  /** Texts with characters that PostgreSQL does not take, which were replaced. */
  cleaned: number;
  refused: Refused[];
};

export type Progress = (table: Table, done: number, of: number) => void;

/**
 * Copies the backups of a Moodle into the service's database, each batch in a transaction of its own. May be stopped, and run again, at any
 * time. Ids of controllers and courses stay, entries of logs are numbered anew. It writes the tables and calls no RPC: states, times and ids of the past are
 * nothing that a client may set.
 */
export async function importMoodle(
  source: Source,
  pool: Pool,
  { batchSize, progress }: { batchSize: number; progress: Progress },
): Promise<Tally[]> {
  const row = (shape: Shape) => (sql: Sql, rows: SourceRow[]) => writeRows(sql, shape, rows);
  const columns = (shape: Shape) => shape.columns.map(({ from }) => from).join(', ');
  const steps = [
    { table: 'backup_courses', columns: columns(courses), write: row(courses) },
    { table: 'backup_controllers', columns: columns(controllers), write: row(controllers) },
    { table: 'backup_logs', columns: 'id, backupid, loglevel, message, timecreated', write: writeLogs },
  ] as const;
  // All at once, so that a table that is missing is told before anything is written.
  const counts = new Map<Table, number>();
  for (const { table } of steps) counts.set(table, await source.count(table));

  const tallies: Tally[] = [];
  for (const { table, columns, write } of steps) {
    const tally: Tally = { table, source: counts.get(table)!, imported: 0, there: 0, cleaned: 0, refused: [] };
    progress(table, 0, tally.source);
    for await (const rows of batchesOf(source, table, columns, batchSize)) {
      add(tally, await transaction(pool, sql => write(sql, rows)));
      progress(table, tally.imported + tally.there + tally.refused.length, tally.source);
    }
    tallies.push(tally);
  }
  await transaction(pool, async sql => {
    await seal(sql);
    // New rows get higher numbers than those that have come.
    for (const table of ['backup_controllers', 'backup_courses']) {
      await sql({
        text: `select setval(pg_get_serial_sequence('${table}', 'id'), greatest(coalesce(max(id), 1), nextval(pg_get_serial_sequence('${table}', 'id')))) from ${table}`,
        values: [],
      });
    }
  });
  return tallies;
}

function add(tally: Tally, written: Written): void {
  tally.imported += written.imported;
  tally.there += written.there;
  tally.cleaned += written.cleaned;
  tally.refused.push(...written.refused);
}

export function isComplete({ source, imported, there, refused }: Tally): boolean {
  return imported + there === source && refused.length === 0;
}
