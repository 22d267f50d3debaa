import assert from 'node:assert/strict';
import pg from 'pg';
import { workOn } from '../../../src/db/engine.ts';
import { appendOnce } from '../../../src/log/append.ts';
import { readHeads } from '../../../src/log/head.ts';
import { readNews } from '../../../src/log/news.ts';
import { readAfter } from '../../../src/log/page.ts';
import { createDatabase, type Database, engine } from '../../support/database.ts';
import { newBackupId } from '../../support/writing.ts';

/** A statement in the making: what it says, and its values. */
type Asked = { text: string; values?: unknown[] };

describe('Statements for one log on Citus', () => {
  // Needs a cluster: `npm run test:citus`.
  if (engine !== 'citus') return;
  workOn('citus');
  const backupId = newBackupId();
  const request = { id: '00000000-0000-4000-8000-000000000001', digest: Buffer.from('a'), dropped: 0 };

  const actions: Record<string, (pool: pg.Pool) => Promise<unknown>> = {
    'where a log stands': pool => readHeads(pool, [backupId]),
    'what is new in a log': pool => readNews(pool, [{ backupId, lastId: 1n }], 100),
    'a page of a tail': pool =>
      readAfter(
        { pool, archive: undefined as never },
        backupId,
        { id: 1n, fingerprint: '' },
        {
          upTo: 2n,
          maxLevel: 100,
          limits: { entries: 10, bytes: 1000 },
          field: 1,
        },
      ),
    'the first answer to a request': pool =>
      appendOnce(
        async statement => (await pool.query(statement)).rows,
        {
          backupId,
          entries: [{ level: 1, message: 'again', at: undefined }],
          leaseToken: '',
        },
        request,
      ),
  };

  for (const [name, act] of Object.entries(actions))
    it(`read one shard: ${name}`, async () => {
      await using database = await createDatabase();
      const asked = await recorded(database, act);
      const reading = asked.filter(({ text }) => /\bbackup_log/.test(text) && !/\binsert\b/.test(text));
      assert.ok(reading.length > 0);
      for (const statement of reading) assert.deepEqual(await taskCounts(database, statement), ['1'], statement.text);
    });

  /** What is asked when it is done for the second time, on a log of two entries. */
  async function recorded(database: Database, act: (pool: pg.Pool) => Promise<unknown>): Promise<Asked[]> {
    const pool = new pg.Pool({ connectionString: database.url, max: 1 });
    try {
      const entries = ['a', 'b'].map(message => ({ level: 1, message, at: undefined }));
      await appendOnce(async one => (await pool.query(one)).rows, { backupId, entries, leaseToken: '' }, request);
      const asked: Asked[] = [];
      pool.on('acquire', client => {
        const query = client.query.bind(client) as (...all: unknown[]) => unknown;
        const { connection } = client as unknown as { connection: { query: (text: string) => void } };
        const send = connection.query.bind(connection);
        Object.assign(client, {
          query: (one: Partial<Asked>, ...rest: unknown[]) => {
            if (one.text) asked.push({ text: one.text, values: one.values ?? [] });
            return query(one, ...rest);
          },
        });
        // A COPY shows its text to the connection only.
        connection.query = text => {
          const copied = /^copy \(([\s\S]*)\) to stdout/.exec(text)?.[1];
          if (copied) asked.push({ text: copied });
          send(text);
        };
      });
      await act(pool);
      return asked;
    } finally {
      await pool.end();
    }
  }
});

async function taskCounts(database: Database, { text, values }: Asked): Promise<string[]> {
  const lines = await database.query(`explain ${text}`, values);
  return lines.flatMap(line => /Task Count: (\d+)/.exec(String(line['QUERY PLAN']))?.[1] ?? []);
}
