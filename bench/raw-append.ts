import { randomBytes } from 'node:crypto';
import type pg from 'pg';

/** What every line of a benchmark says. */
export const LINE = 'x'.repeat(150);

export const newBackupId = () => randomBytes(16).toString('hex');

/** Four connections, which is where PostgreSQL is at its best on such a machine; no ids are given, no head is kept. */
export async function raw(pool: pg.Pool, { batch, calls }: { batch: number; calls: number }): Promise<number> {
  await pool.query(
    'create table if not exists raw_logs (backupid varchar(32), id bigint, loglevel smallint, message text, created_at bigint, primary key (backupid, id))',
  );
  let left = calls;
  const start = performance.now();
  await Promise.all(
    Array.from({ length: 4 }, async () => {
      const backupId = newBackupId();
      for (let id = 0; left-- > 0; id += batch) {
        await pool.query({
          name: 'raw-append',
          text: `insert into raw_logs select $1, $2::bigint + n, level, message, extract(epoch from now())::bigint
                 from unnest($3::smallint[], $4::text[]) with ordinality as e (level, message, n)`,
          values: [backupId, id, Array(batch).fill(40), Array(batch).fill(LINE)],
        });
      }
    }),
  );
  return (calls * batch) / ((performance.now() - start) / 1000);
}
