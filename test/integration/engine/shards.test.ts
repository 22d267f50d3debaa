import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';
import type pg from 'pg';
import { Outcome, Status } from '../../../src/controller/lifecycle.ts';
import { Reader } from '../../../src/controller/read.ts';
import { APPEND } from '../../../src/db/citus-append.ts';
import { workOn } from '../../../src/db/engine.ts';
import { sqlOn, transaction } from '../../../src/db/sql.ts';
import { keep, lookAtWriter, openWriter } from '../../../src/ingest/writer.ts';
import { readIdsAt } from '../../../src/log/active.ts';
import { append, appendOnce, digestOf } from '../../../src/log/append.ts';
import { readHeads } from '../../../src/log/head.ts';
import { listRuns } from '../../../src/log/list.ts';
import { readNews } from '../../../src/log/news.ts';
import { ALL_LEVELS, readAfter } from '../../../src/log/page.ts';
import { shortenLogs } from '../../../src/log/shorten.ts';
import { countLevels } from '../../../src/log/summary.ts';
import { Archive, type Logs } from '../../../src/segment/archive.ts';
import { startPositions } from '../../../src/tail/start.ts';
import { claim, type Held } from '../../../src/work/claim.ts';
import { report } from '../../../src/work/report.ts';
import { settle } from '../../../src/work/settle.ts';
import { createDatabase, type Database, engine } from '../../support/database.ts';
import { type Sharded, sharded } from '../../support/shards.ts';
import { newBackupId } from '../../support/writing.ts';

const logsOf = (pool: pg.Pool): Logs => ({
  pool,
  archive: new Archive({ pool, store: undefined, cacheBytes: 0, lost: () => {} }),
});

// PostgreSQL tries a plan for any parameters once a statement has been seen five times, and Citus does not know the shard by that.
const TIMES = 7;

describe('On a cluster', () => {
  // Needs one: `npm run test:citus`.
  if (engine !== 'citus') return;
  workOn('citus');
  const entry = (message = 'a line') => ({ level: 30, message, at: undefined });
  const limits = { entries: 1000, bytes: 256 * 1024 };
  const page = { upTo: 20n, maxLevel: ALL_LEVELS, limits, field: 1 };
  const anything = { maxLevel: ALL_LEVELS, from: undefined, to: undefined, text: '', newestFirst: false };
  const start = { id: 0n, fingerprint: '' };
  const wish = { operation: undefined, type: undefined, purposes: undefined, format: undefined };
  let database: Database;
  let cluster: Sharded;

  before(async () => {
    database = await createDatabase();
    await database.query(`
      insert into backup_controllers (backupid, type, itemid, format, interactive, purpose, userid, status, execution)
      select md5(i::text), 'course', i, 'moodle2', 0, 70, 0, 700, 2 from generate_series(1, 100) i`);
    cluster = await sharded(database.url);
  });
  after(async () => {
    await cluster[Symbol.asyncDispose]();
    await database[Symbol.asyncDispose]();
  });

  it('what goes to several shards is seen by these tests', async () => {
    const { shards } = await cluster.sent(() => cluster.pool.query('select count(*) from backup_logs'));
    assert.ok(shards.length > 1, `${shards}`);
  });

  const statements: Record<string, (pool: pg.Pool, backupId: string) => Promise<unknown>> = {
    'an append in a transaction': (pool, id) => transaction(pool, sql => append(sql, id, [entry()])),
    'an append with a request id in a transaction': (pool, id) =>
      transaction(pool, sql => appendOnce(sql, ...requested(id))),
    'a batch of a writer in a transaction': (pool, id) =>
      transaction(pool, async sql => {
        const writer = { backupId: id, writerId: randomUUID(), leaseToken: '' };
        assert.equal((await keep(sql, writer, { last: 0n, upTo: 1n, entries: [entry()] })).kept, true);
        assert.equal((await keep(sql, writer, { last: 1n, upTo: 2n, entries: [entry()] })).kept, true);
      }),
    'the start of a writer': (pool, id) =>
      openWriter(sqlOn(pool), { backupId: id, writerId: randomUUID(), leaseToken: '' }),
    'where a writer stands': (pool, id) =>
      lookAtWriter(sqlOn(pool), { backupId: id, writerId: randomUUID(), leaseToken: randomUUID() }),
    'where a log stands': (pool, id) => readHeads(pool, [id]),
    'what is new in a log': (pool, id) => readNews(pool, [{ backupId: id, lastId: 10n }], 1000),
    'a page of a tail': (pool, id) => readAfter(logsOf(pool), id, start, page),
    'a page of long messages': async (pool, id) => {
      await append(sqlOn(pool), id, [entry('x'.repeat(4000))]);
      await readAfter(logsOf(pool), id, { id: 20n, fingerprint: '' }, { ...page, upTo: 21n });
    },
    'the start of a tail by number': (pool, id) => startPositions(logsOf(pool), [id], { from: 'last', entries: 5 }, 30),
    'the start of a tail by time': (pool, id) =>
      startPositions(logsOf(pool), [id], { from: 'time', seconds: 1n, nanos: 0 }, 30),
    'where a log was at a time': (pool, id) => readIdsAt(logsOf(pool), [id], 1_700_000_000_000_000n),
    'a list': (pool, id) => listRuns(logsOf(pool), [{ id: 1n, backupId: id }], anything, undefined, limits, 1),
    'a list by text': (pool, id) =>
      listRuns(logsOf(pool), [{ id: 1n, backupId: id }], { ...anything, text: 'l' }, undefined, limits, 1),
    'a count by level': (pool, id) => countLevels(logsOf(pool), [id], anything),
    'a purge of old entries': (pool, id) =>
      transaction(pool, sql => shortenLogs(sql, [{ backupId: id, entries: 2n }], undefined)),
  };

  for (const [what, run] of Object.entries(statements))
    it(`${what} goes to the shard of its log, and to no other one`, async () => {
      for (let time = 1; time <= TIMES; time++) {
        const backupId = newBackupId();
        await append(
          sqlOn(cluster.pool),
          backupId,
          Array.from({ length: 20 }, () => entry()),
        );
        const { shards, statements } = await cluster.sent(() => run(cluster.pool, backupId));
        assert.deepEqual(shards, [await placeOf(backupId)], `${what}, time ${time}: ${statements.join('; ')}`);
      }
    });

  it('what is new in many logs is one statement for each of their shards', async () => {
    const ids = Array.from({ length: 60 }, newBackupId);
    for (const [i, id] of ids.entries())
      if (i > 0) await append(sqlOn(cluster.pool), id, [entry(`${i}.1`), entry(`${i}.2`), entry(`${i}.3`)]);
    const known = ids.map((backupId, i) => ({ backupId, lastId: i % 3 === 2 ? undefined : BigInt(i % 3) }));
    let news: Awaited<ReturnType<typeof readNews>> = new Map();
    const { statements, shards } = await cluster.sent(async () => {
      news = await readNews(cluster.pool, known, 2);
    });
    assert.equal(statements.length, shards.length);
    assert.deepEqual(
      ids.map(id => news.get(id)!.entries.map(({ message }) => message)),
      ids.map((_, i) => (i === 0 ? [] : [[`${i}.1`, `${i}.2`], [`${i}.2`, `${i}.3`], []][i % 3])),
    );
    for (const one of known) {
      const alone = (await readNews(cluster.pool, [one], 2)).get(one.backupId);
      assert.deepEqual(news.get(one.backupId), alone);
    }
  });

  // What the node does then with the log, and is seen by these tests in a transaction only, stays on that node.
  const alone: Record<string, (pool: pg.Pool, backupId: string) => Promise<unknown>> = {
    'an append': (pool, id) => append(sqlOn(pool), id, [entry()]),
    'an append with a request id': (pool, id) => appendOnce(sqlOn(pool), ...requested(id)),
    'a batch of a writer': (pool, id) =>
      keep(
        sqlOn(pool),
        { backupId: id, writerId: randomUUID(), leaseToken: '' },
        { last: 0n, upTo: 1n, entries: [entry()] },
      ),
  };

  for (const [what, run] of Object.entries(alone))
    it(`${what} is one exchange with the node of its log`, async () => {
      for (let time = 1; time <= TIMES; time++) {
        const { statements } = await cluster.sent(() => run(cluster.pool, newBackupId()));
        assert.equal(statements.length, 1, `${what}, time ${time}: ${statements.join('; ')}`);
        assert.match(statements[0]!, new RegExp(`^SELECT [\\w, ]+ FROM public\\.${APPEND}\\(`));
      }
    });

  it('a claim, reports and reads of controllers go to none; an append under the lease and the end to that of the log', async () => {
    for (let time = 1; time <= TIMES; time++) {
      const sql = sqlOn(cluster.pool);
      let held: Held[] = [];
      const claiming = async () => {
        [held] = (await claim(sql, wish, [{ worker: 'w', most: 1, leaseMs: 60_000 }], true)) as [Held[]];
      };
      const none = { statements: [], shards: [] };
      assert.deepEqual(await cluster.sent(claiming), none);
      const [{ backupId, leaseToken: token }] = held as [Held];
      const reporting = () => report(sql, [{ backupId, token, progress: '0.5', reset: false }]);
      assert.deepEqual(await cluster.sent(reporting), none);
      assert.deepEqual(await cluster.sent(() => new Reader(sql, { mostWaiting: 9 }).readAll([backupId])), none);
      const writer = { backupId, writerId: randomUUID(), leaseToken: token };
      const ended = { backupId, token, status: Status.FINISHED_OK, outcome: Outcome.SUCCEEDED, entries: [entry()] };
      const writing: Record<string, () => Promise<unknown>> = {
        append: () => append(sql, backupId, [entry()], token),
        once: () => appendOnce(sql, { ...requested(backupId)[0], leaseToken: token }, requested(backupId)[1]),
        batch: () => keep(sql, writer, { last: 0n, upTo: 1n, entries: [entry()] }),
        end: () => transaction(cluster.pool, sql => settle(sql, [ended])),
      };
      for (const [what, write] of Object.entries(writing)) {
        const { shards, statements } = await cluster.sent(write);
        assert.deepEqual(shards, [await placeOf(backupId)], `${what}, time ${time}: ${statements.join('; ')}`);
      }
    }
  });

  function requested(backupId: string): Parameters<typeof appendOnce> extends [unknown, ...infer Rest] ? Rest : never {
    return [
      { backupId, entries: [entry()], leaseToken: '' },
      { id: randomUUID(), digest: digestOf(Buffer.of(1)), dropped: 0 },
    ];
  }

  /** Where a log belongs, by Citus itself and not by what was sent. */
  async function placeOf(backupId: string): Promise<number> {
    const [row] = await database.query(
      `select place from (select shardid, rank() over (order by shardminvalue::int)::int as place from pg_dist_shard
       where logicalrelid = 'backup_logs'::regclass) shard
       where shardid = get_shard_id_for_distribution_column('backup_logs', $1::varchar)`,
      [backupId],
    );
    return row!['place'] as number;
  }
});
