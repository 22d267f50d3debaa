import pg from 'pg';
import { noTable, type Source, type SourceRow } from './source.ts';

export async function openPostgres(dsn: string, prefix: string): Promise<Source> {
  const client = new pg.Client({
    connectionString: dsn,
    application_name: 'backup-management import',
    connectionTimeoutMillis: 10_000,
  });
  await client.connect();
  await client.query('begin isolation level repeatable read read only');
  const query = async (table: string, sql: string): Promise<SourceRow[]> => {
    try {
      return (await client.query(sql)).rows;
    } catch (error) {
      throw (error as { code?: string }).code === '42P01' ? noTable(table) : error;
    }
  };
  return {
    async count(table) {
      const [row] = await query(prefix + table, `select count(*) as n from "${prefix}${table}"`);
      return Number(row!['n']);
    },
    rows: (table, columns, after, limit) =>
      query(
        prefix + table,
        `select ${columns} from "${prefix}${table}" where id > ${after} order by id limit ${limit}`,
      ),
    [Symbol.asyncDispose]: () => client.end(),
  };
}
