import { createConnection, type RowDataPacket } from 'mysql2/promise';
import { noTable, type Source, type SourceRow } from './source.ts';

/** MySQL and MariaDB. */
export async function openMysql(dsn: string, prefix: string): Promise<Source> {
  const connection = await createConnection({
    uri: dsn,
    charset: 'utf8mb4',
    supportBigNumbers: true,
    bigNumberStrings: true,
    connectTimeout: 10_000,
  });
  await connection.query('set session transaction isolation level repeatable read');
  await connection.query('start transaction with consistent snapshot, read only');
  const query = async (table: string, sql: string): Promise<SourceRow[]> => {
    try {
      return (await connection.query<(RowDataPacket & SourceRow)[]>(sql))[0];
    } catch (error) {
      throw (error as { code?: string }).code === 'ER_NO_SUCH_TABLE' ? noTable(table) : error;
    }
  };
  return {
    async count(table) {
      const [row] = await query(prefix + table, `select count(*) as n from \`${prefix}${table}\``);
      return Number(row!['n']);
    },
    rows: (table, columns, after, limit) =>
      query(
        prefix + table,
        `select ${columns} from \`${prefix}${table}\` where id > ${after} order by id limit ${limit}`,
      ),
    [Symbol.asyncDispose]: () => connection.end(),
  };
}
