import { openMysql } from './mysql.ts';
import { openPostgres } from './postgres.ts';
import { type Source, SourceError } from './source.ts';

/** Opens a Moodle database by its URL. */
export async function openSource(dsn: string, prefix: string): Promise<Source> {
  if (!/^[A-Za-z0-9_]*$/.test(prefix)) {
    throw new SourceError(`the prefix may have letters, digits and underscores only, not "${prefix}"`);
  }
  const [protocol] = dsn.split(':');
  try {
    switch (protocol) {
      case 'postgres':
      case 'postgresql':
      case 'pgsql':
        return await openPostgres(dsn.replace(/^pgsql:/, 'postgresql:'), prefix);
      case 'mysql':
      case 'mysqli':
      case 'mariadb':
        return await openMysql(dsn.replace(/^[a-z]+:/, 'mysql:'), prefix);
      default:
        throw new SourceError('the source must be a URL that begins with postgresql://, mysql:// or mariadb://');
    }
  } catch (error) {
    if (error instanceof SourceError) throw error;
    const { message, code } = error as NodeJS.ErrnoException;
    throw new SourceError(`the source cannot be opened: ${message || code}`);
  }
}
