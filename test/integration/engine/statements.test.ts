import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';
import type pg from 'pg';
import { Outcome, Status } from '../../../src/controller/lifecycle.ts';
import { Reader } from '../../../src/controller/read.ts';
import { removeControllers } from '../../../src/controller/removal.ts';
import { migrate } from '../../../src/db/migrate.ts';
import { sqlOn, transaction } from '../../../src/db/sql.ts';
import { readIdsAt } from '../../../src/log/active.ts';
import { append, appendOnce, digestOf } from '../../../src/log/append.ts';
import { appendFree } from '../../../src/log/free.ts';
import { readHeads } from '../../../src/log/head.ts';
import { listRuns } from '../../../src/log/list.ts';
import { readNews } from '../../../src/log/news.ts';
import { ALL_LEVELS, readAfter } from '../../../src/log/page.ts';
import { shortenLogs } from '../../../src/log/shorten.ts';
import { countLevels } from '../../../src/log/summary.ts';
import { appendTogether } from '../../../src/log/together.ts';
import { download } from '../../../src/payload/download.ts';
import { dropStaleChunks } from '../../../src/payload/stale.ts';
import { Upload } from '../../../src/payload/upload.ts';
import { forgetAnswers } from '../../../src/request/forget.ts';
import { Archive, type Logs } from '../../../src/segment/archive.ts';
import { startPositions } from '../../../src/tail/start.ts';
import { claim, type Held } from '../../../src/work/claim.ts';
import { report } from '../../../src/work/report.ts';
import { settle } from '../../../src/work/settle.ts';
import { createEmptyDatabase, type Database } from '../../support/database.ts';
import { type Explained, explaining } from '../../support/plans.ts';
import { newBackupId } from '../../support/writing.ts';

/** Of which nothing has left the table. */
const logsOf = (pool: pg.Pool): Logs => ({
  pool,
  archive: new Archive({ pool, store: undefined, cacheBytes: 0, lost: () => {} }),
});

// A plan for any parameters is made once a statement has been seen five times, and then kept.
const TIMES = 7;

describe('On a partitioned database', () => {
  const entry = (message = 'a line') => ({ level: 30, message, at: undefined });
  const wish = { operation: undefined, type: undefined, purposes: undefined, format: undefined };
  const limits = { entries: 1000, bytes: 256 * 1024 };
  const page = { upTo: 20n, maxLevel: ALL_LEVELS, limits, field: 1 };
  const anything = { maxLevel: ALL_LEVELS, from: undefined, to: undefined, text: '', newestFirst: false };
  const start = { id: 0n, fingerprint: '' };
  let database: Database;
  let hot: Explained;
  let main: Explained;

  before(async () => {
    database = await createEmptyDatabase();
    await migrate(database.url, 'partitioned');
    // Enough for every partition to have some of each, so that what looks into more than it should is seen.
    await database.query(`
      insert into backup_controllers (backupid, type, itemid, format, interactive, purpose, userid, status, execution)
      select md5(i::text), 'course', i, 'moodle2', 0, 70, 0, 700, 2 from generate_series(1, 300) i;
      insert into backup_log_heads (backupid, lastid, lastmicros) select md5(i::text), 20, 1 from generate_series(1, 300) i;
      insert into backup_logs (backupid, id, loglevel, message, created_at)
      select md5(i::text), id, 30, 'a line', 1700000000 from generate_series(1, 300) i, generate_series(1, 20) id;
      insert into backup_log_requests (backupid, requestid, digest, firstid, lastid, dropped, created_at)
      select md5(i::text), gen_random_uuid(), '', 1, 1, 0, 1700000000 from generate_series(1, 300) i;
      insert into backup_payload_chunks (backupid, uploadid, n, data) select md5(i::text), gen_random_uuid(), 1, 'AAAA' from generate_series(1, 300) i;
      analyze`);
    hot = explaining(database.url, { hot: true });
    main = explaining(database.url, { hot: false });
  });
  after(async () => {
    await hot[Symbol.asyncDispose]();
    await main[Symbol.asyncDispose]();
    await database[Symbol.asyncDispose]();
  });

  it('what looks into several partitions is seen by these tests', async () => {
    const all = await main.touched(() => main.pool.query('select count(*) from backup_logs'));
    assert.equal(all.length, 16);
  });

  const statements: [
    what: string,
    where: 'hot' | 'main',
    run: (pool: pg.Pool, backupId: string) => Promise<unknown>,
  ][] = [
    ['an append', 'hot', (pool, id) => append(sqlOn(pool), id, [entry()])],
    ['an append with a request id', 'hot', (pool, id) => appendOnce(sqlOn(pool), ...requested(id))],
    [
      'an append that is sent again',
      'hot',
      async (pool, id) => {
        const [one, request] = requested(id);
        for (const _ of 'ab') await appendOnce(sqlOn(pool), one, request);
      },
    ],
    ['what is new in a log', 'hot', (pool, id) => readNews(pool, [{ backupId: id, lastId: 10n }], 1000)],
    ['a page of a tail', 'hot', (pool, id) => readAfter(logsOf(pool), id, start, page)],
    [
      'a page of long messages',
      'hot',
      async (pool, id) => {
        await append(sqlOn(pool), id, [entry('x'.repeat(4000))]);
        await readAfter(logsOf(pool), id, { id: 20n, fingerprint: '' }, { ...page, upTo: 21n });
      },
    ],
    [
      'the start of a tail by number',
      'main',
      (pool, id) => startPositions(logsOf(pool), [id], { from: 'last', entries: 5 }, 30),
    ],
    [
      'the start of a tail by time',
      'main',
      (pool, id) => startPositions(logsOf(pool), [id], { from: 'time', seconds: 1n, nanos: 0 }, 30),
    ],
    ['where a log was at a time', 'hot', (pool, id) => readIdsAt(logsOf(pool), [id], 1_700_000_000_000_000n)],
    [
      'a list',
      'main',
      (pool, id) => listRuns(logsOf(pool), [{ id: 1n, backupId: id }], anything, undefined, limits, 1),
    ],
    [
      'a list by text',
      'main',
      (pool, id) =>
        listRuns(logsOf(pool), [{ id: 1n, backupId: id }], { ...anything, text: 'l' }, undefined, limits, 1),
    ],
    ['a count by level', 'main', (pool, id) => countLevels(logsOf(pool), [id], anything)],
    [
      'a purge of old entries',
      'main',
      (pool, id) => transaction(pool, sql => shortenLogs(sql, [{ backupId: id, entries: 2n }], undefined)),
    ],
    [
      'an upload and its download',
      'main',
      async (pool, id) => {
        await using upload = new Upload(pool, id, 1_000_000);
        await upload.take(Buffer.from('payload'));
        const { md5 } = await upload.end();
        await transaction(pool, sql => upload.keep(sql, md5));
        const parts = await Array.fromAsync(download(pool, id), ({ kind }) => kind);
        assert.deepEqual(parts, ['start', 'chunk', 'finish']);
      },
    ],
    ['the deletion of a controller', 'main', (pool, id) => transaction(pool, sql => removeControllers(sql, [id]))],
  ];

  for (const [i, [what, where, run]] of statements.entries())
    it(`${what} touches the partition of its log, and no other one`, async () => {
      const { pool, touched } = where === 'hot' ? hot : main;
      for (let time = 0; time < TIMES; time++) {
        const backupId = await idOf(i * TIMES + time + 1);
        const own = await partitionsOf([backupId]);
        const found = await touched(() => run(pool, backupId));
        assert.ok(found.length > 0, 'it should have touched any');
        assert.deepEqual(without(found, own), [], `${what}, time ${time + 1}`);
      }
    });

  it('an append of many at once touches those of its logs', async () => {
    for (let time = 0; time < TIMES; time++) {
      const ids = [await idOf(200), await idOf(201), await idOf(202), newBackupId()];
      const own = await partitionsOf(ids);
      const appends = ids.map(backupId => ({ backupId, entries: [entry(), entry()], leaseToken: '' }));
      const free = await hot.touched(() => appendFree(sqlOn(hot.pool), appends));
      const together = await hot.touched(() =>
        appendTogether(
          sqlOn(hot.pool),
          appends.map(one => ({ ...one, request: { id: randomUUID(), digest: digestOf(Buffer.of()), dropped: 0 } })),
        ),
      );
      for (const found of [free, together]) {
        assert.ok(found.length > 0);
        assert.deepEqual(without(found, own), []);
      }
    }
  });

  it('the news and counts of many logs touch those of these', async () => {
    const ids = [await idOf(203), await idOf(204), await idOf(205)];
    const own = await partitionsOf(ids);
    for (let time = 0; time < TIMES; time++) {
      const news = await hot.touched(() =>
        readNews(
          hot.pool,
          ids.map(backupId => ({ backupId, lastId: 1n })),
          10,
        ),
      );
      assert.deepEqual(
        news,
        own.filter(table => /^backup_logs_/.test(table)),
      );
      assert.deepEqual(without(await main.touched(() => countLevels(logsOf(main.pool), ids, anything)), own), []);
    }
  });

  it('a claim, reports, heads and reads of controllers touch none, and an end that of its log', async () => {
    for (let time = 0; time < TIMES; time++) {
      const sql = sqlOn(hot.pool);
      let held: Held[] = [];
      const claiming = async () => {
        [held] = (await claim(sql, wish, [{ worker: 'w', most: 1, leaseMs: 60_000 }], true)) as [Held[]];
      };
      assert.deepEqual(await hot.touched(claiming), []);
      const [{ backupId, leaseToken: token }] = held as [Held];
      const reporting = () => report(sql, [{ backupId, token, progress: '0.5', reset: false }]);
      assert.deepEqual(await hot.touched(reporting), []);
      assert.deepEqual(await hot.touched(() => readHeads(hot.pool, [backupId])), []);
      assert.deepEqual(await hot.touched(() => new Reader(sql, { mostWaiting: 9 }).readAll([backupId])), []);
      const own = await partitionsOf([backupId]);
      const appending = await hot.touched(() => append(sql, backupId, [entry()], token));
      const end = { backupId, token, status: Status.FINISHED_OK, outcome: Outcome.SUCCEEDED, entries: [entry()] };
      const ending = await hot.touched(() => settle(sql, [end]));
      for (const found of [appending, ending])
        assert.deepEqual(
          found,
          own.filter(table => /^backup_logs_/.test(table)),
        );
    }
  });

  it('what is forgotten is what is old, and nothing that has the same place in another partition', async () => {
    await using database = await createEmptyDatabase();
    await migrate(database.url, 'partitioned');
    // One row in each partition, at the same place in all of them; every other one is old.
    await database.query(`
      with one as (
        select distinct on (p.n) p.n, md5(i::text) as id from generate_series(0, 15) p (n), generate_series(1, 300) i
        where satisfies_hash_partition('backup_logs'::regclass, 16, p.n, md5(i::text)::varchar) order by p.n
      ), requests as (
        insert into backup_log_requests (backupid, requestid, digest, firstid, lastid, dropped, created_at)
        select id, gen_random_uuid(), '', 1, 1, 0, extract(epoch from now())::bigint - (n % 2) * 100000 from one
      )
      insert into backup_payload_chunks (backupid, uploadid, n, data, created_at)
      select id, gen_random_uuid(), 1, '', extract(epoch from now())::bigint - (n % 2) * 100000 from one`);
    const left = async (table: string) =>
      (await database.query(`select right(tableoid::regclass::text, 2)::int as n from ${table} order by 1`)).map(
        ({ n }) => n,
      );
    const all = Array.from({ length: 16 }, (_, n) => n);
    assert.deepEqual([await left('backup_log_requests'), await left('backup_payload_chunks')], [all, all]);
    const { pool, [Symbol.asyncDispose]: close } = explaining(database.url, { hot: false });
    const never = new AbortController().signal;
    assert.equal(await forgetAnswers(pool, 50_000_000, never), 8);
    assert.equal(await dropStaleChunks(pool, never), 8);
    await close();
    const fresh = all.filter(n => n % 2 === 0);
    assert.deepEqual([await left('backup_log_requests'), await left('backup_payload_chunks')], [fresh, fresh]);
  });

  function requested(
    backupId: string,
  ): [
    { backupId: string; entries: ReturnType<typeof entry>[]; leaseToken: string },
    { id: string; digest: Buffer; dropped: number },
  ] {
    return [
      { backupId, entries: [entry()], leaseToken: '' },
      { id: randomUUID(), digest: digestOf(Buffer.of(1)), dropped: 0 },
    ];
  }

  async function idOf(i: number): Promise<string> {
    return (await database.query('select md5($1) as id', [String(i)]))[0]!['id'] as string;
  }

  /** Where rows of these logs belong, by PostgreSQL's own function and not by what it has put where. */
  async function partitionsOf(backupIds: string[]): Promise<string[]> {
    const rows = await database.query(
      `select c.relname as name from pg_inherits i join pg_class c on c.oid = i.inhrelid join pg_class p on p.oid = i.inhparent
       cross join unnest($1::varchar[]) as id
       where p.relkind = 'p' and satisfies_hash_partition(p.oid, 16, right(c.relname, 2)::int, id) group by 1 order by 1`,
      [backupIds],
    );
    return rows.map(({ name }) => name as string);
  }

  const without = (all: string[], some: string[]) => all.filter(one => !some.includes(one));
});
