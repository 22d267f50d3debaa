import type { Socket } from 'node:net';
import pg from 'pg';
import type { Transport } from './connection.ts';

/**
 * LISTEN and NOTIFY. Its channels are a database's own, so the name is the same everywhere. A NOTIFY is sent after the commit that it tells of and
 * not in that transaction, where it would take one lock for the whole cluster: 16 writers committed 11,600 times a second without it, 800 times
 * with it (disk with 1 ms sync).
 */
export const postgres: Transport = ({ url, timeoutMs, heard, broken }) => {
  const client = new pg.Client({
    connectionString: url,
    application_name: NAME,
    connectionTimeoutMillis: timeoutMs,
    query_timeout: timeoutMs,
    keepAlive: true,
    // A NOTIFY is a commit: what is only a hint need not wait for the disk.
    options: '-c synchronous_commit=off',
  }) as ListeningClient;
  client.on('error', broken);
  client.on('end', () => broken(new Error('the connection has ended')));
  client.on('notification', ({ payload, processId }) => {
    if (processId !== client.processID) heard(payload ?? '');
  });
  return {
    async listen() {
      await client.connect();
      await client.query(`listen ${CHANNEL}`);
    },
    async send(payloads) {
      await client.query(NOTIFY, [payloads]);
    },
    async othersListen() {
      const { rows } = await client.query(LISTENERS, [NAME]);
      return rows[0].listeners !== 1;
    },
    // `end` would wait for an answer that a dead connection never gives.
    close: () => void client.connection.stream.destroy(),
  };
};

// Neither is in the types of pg.
type ListeningClient = pg.Client & { processID: number; connection: { stream: Socket } };

const CHANNEL = 'backup_doorbell';

const NOTIFY = `select pg_notify('${CHANNEL}', payload) from unnest($1::text[]) as payload`;

/** Of the connections that listen. */
const NAME = 'backup-management doorbell';

const LISTENERS = `select count(*)::int as listeners from pg_stat_activity where datname = current_database() and application_name = $1`;
