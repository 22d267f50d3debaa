/** The tables of Moodle that are imported, without their prefix. */
export type Table = 'backup_controllers' | 'backup_courses' | 'backup_logs';

/** A row as the database gives it; numbers may be text. */
export type SourceRow = Record<string, string | number | null>;

/** A Moodle database, as it was when it was opened: what is written to it meanwhile is not seen. */
export type Source = AsyncDisposable & {
  count(table: Table): Promise<number>;
  /** At most `limit` rows behind an id, in the order of their ids; `columns` are SQL. */
  rows(table: Table, columns: string, after: bigint, limit: number): Promise<SourceRow[]>;
};

/** What is wrong with what the user gave, in words for him. */
export class SourceError extends Error {
  override readonly name = 'SourceError';
}

export function noTable(name: string): SourceError {
  return new SourceError(`the source has no table ${name}: is --prefix right?`);
}
