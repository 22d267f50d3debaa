import pg from 'pg';
import { LINE, newBackupId } from './raw-append.ts';
import { now } from './subscribe.ts';

/**
 * The usual way to tell another program of a row without polling: a NOTIFY in the transaction that inserts it, a connection that listens, and a
 * read of the row. How many milliseconds each took from the moment at which it was sent.
 */
export async function rawTail(pool: pg.Pool, url: string, paced: Paced): Promise<number[]> {
  const backupId = newBackupId();
  await pool.query(
    'create table if not exists raw_tail (backupid varchar(32), id bigint, loglevel smallint, message text, created_at bigint, primary key (backupid, id))',
  );
  const listener = new pg.Client({ connectionString: url });
  await listener.connect();
  await listener.query('listen raw_tail');
  const arrived: number[] = [];
  const told = Promise.withResolvers<void>();
  let reading: Promise<unknown> = told.promise;
  listener.on('notification', ({ payload }) => {
    told.resolve();
    reading = reading.then(async () => {
      const { rows } = await listener.query({ name: 'raw-tail', text: READ, values: [backupId, payload] });
      if (rows[0].message !== LINE) throw new Error('not the row that was told of');
      arrived[Number(payload)] = now();
    });
  });
  const { sent } = await paced(n => pool.query({ name: 'raw-tail-append', text: APPEND, values: [backupId, n, LINE] }));
  // An answer of this connection comes behind all it had to tell before.
  await reading.then(() => listener.query('select'));
  await reading;
  await listener.end();
  return sent.map((at, n) => arrived[n]! - at);
}

type Paced = (send: (n: number) => Promise<unknown>) => Promise<{ sent: number[] }>;

const APPEND = `
  with entry as (
    insert into raw_tail values ($1, $2, 40, $3, extract(epoch from now())::bigint) returning id
  )
  select pg_notify('raw_tail', id::text) from entry`;

const READ = 'select id, loglevel, message, created_at from raw_tail where backupid = $1 and id = $2';
