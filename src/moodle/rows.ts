import type { Sql } from '../db/sql.ts';
import { clean } from './batch.ts';
import type { SourceRow } from './source.ts';

/** What became of a batch. */
export type Written = { imported: number; there: number; cleaned: number; refused: Refused[] };

/** A row that the service cannot hold, and why. */
export type Refused = { id: string; reason: string };

/** How the rows of one table are written. `columns` are those of Moodle and, where it has another name, that of the service. */
export type Shape = {
  target: string;
  key: string;
  columns: { from: string; to: string; type: string }[];
};

const same = (names: string, type: string) => names.split(' ').map(name => ({ from: name, to: name, type }));

export const controllers: Shape = {
  target: 'backup_controllers',
  key: 'backupid',
  columns: [
    ...same('id itemid userid executiontime', 'bigint'),
    ...same('backupid operation type format checksum controller', 'text'),
    ...same('interactive purpose status execution', 'smallint'),
    ...same('progress', 'numeric'),
    { from: 'timecreated', to: 'created_at', type: 'bigint' },
    { from: 'timemodified', to: 'updated_at', type: 'bigint' },
  ],
};

export const courses: Shape = {
  target: 'backup_courses',
  key: 'courseid',
  columns: [...same('id courseid laststarttime lastendtime nextstarttime', 'bigint'), ...same('laststatus', 'text')],
};

/**
 * Writes rows that are not there yet; what is there stays as it is. One that the service's checks refuse is refused alone: a batch that
 * fails is halved until it is found.
 */
export async function writeRows(sql: Sql, shape: Shape, rows: SourceRow[]): Promise<Written> {
  await sql({ text: 'savepoint batch', values: [] });
  try {
    const written = await insert(sql, shape, rows);
    await sql({ text: 'release savepoint batch', values: [] });
    return written;
  } catch (error) {
    const { code, message } = error as { code?: string; message: string };
    // Class 22: a value that is out of range; class 23: a check that refuses it. Anything else is no fault of a row.
    if (!/^2[23]/.test(code ?? '')) throw error;
    await sql({ text: 'rollback to savepoint batch', values: [] });
    if (rows.length === 1) {
      return { imported: 0, there: 0, cleaned: 0, refused: [{ id: String(rows[0]!['id']), reason: message }] };
    }
    const half = Math.ceil(rows.length / 2);
    const first = await writeRows(sql, shape, rows.slice(0, half));
    const second = await writeRows(sql, shape, rows.slice(half));
    return {
      imported: first.imported + second.imported,
      there: first.there + second.there,
      cleaned: first.cleaned + second.cleaned,
      refused: [...first.refused, ...second.refused],
    };
  }
}

async function insert(sql: Sql, { target, key, columns }: Shape, rows: SourceRow[]): Promise<Written> {
  let cleaned = 0;
  const values = columns.map(({ from, type }) =>
    rows.map(row => {
      if (type !== 'text') return row[from];
      const value = clean(row[from] ?? null);
      if (value.cleaned) cleaned++;
      return value.text;
    }),
  );
  const names = columns.map(({ to }) => to).join(', ');
  const inserted = await sql({
    text: `insert into ${target} (${names})
           select * from unnest(${columns.map(({ type }, i) => `$${i + 1}::${type}[]`).join(', ')})
           on conflict (${key}) do nothing returning 1`,
    values,
  });
  return { imported: inserted.length, there: rows.length - inserted.length, cleaned, refused: [] };
}
