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

/** Opens a Moodle database by its URL. */
export async function openSource(dsn: string, prefix: string): Promise<Source> {
  if (!/^[A-Za-z0-9_]*$/.test(prefix)) {
    throw new SourceError(`the prefix may have letters, digits and underscores only, not "${prefix}"`);
  }
  const [protocol] = dsn.split(':');
  try {
    // Only the driver that is needed is loaded.
    switch (protocol) {
      case 'postgres':
      case 'postgresql':
      case 'pgsql':
        return await (await import('./postgres.ts')).openPostgres(dsn.replace(/^pgsql:/, 'postgresql:'), prefix);
      case 'mysql':
      case 'mysqli':
      case 'mariadb':
        return await (await import('./mysql.ts')).openMysql(dsn.replace(/^[a-z]+:/, 'mysql:'), prefix);
      default:
        throw new SourceError('the source must be a URL that begins with postgresql://, mysql:// or mariadb://');
    }
  } catch (error) {
    if (error instanceof SourceError) throw error;
    const { message, code } = error as NodeJS.ErrnoException;
    throw new SourceError(`the source cannot be opened: ${message || code}`);
  }
}

export function noTable(name: string): SourceError {
  return new SourceError(`the source has no table ${name}: is --prefix right?`);
}
