import { strict as assert } from 'node:assert';
import { setTimeout as delay } from 'node:timers/promises';
import { LogOrder } from '../../../src/gen/backup/v1/log_pb.ts';
import type { Replica } from '../../support/backend.ts';
import { startReplica } from '../../support/backend.ts';
import { Dice } from '../../support/dice.ts';
import { eventually } from '../../support/eventually.ts';
import { type Reading, startReading } from '../../support/read-aside.ts';
import { Pair } from '../../support/standby-server.ts';
import { Subscriber } from '../../support/subscriber.ts';
import { append, finish, newBackup } from '../../support/writing.ts';
import { eager, type Folder, moveAll, newFolder, silence, standing } from '../segment/moving.ts';

describe('Logs that are moved to segments, and a standby that is behind', () => {
  let pair: Pair;
  let folder: Folder;
  before(async () => {
    pair = await Pair.start();
    folder = newFolder();
  });
  after(async () => {
    await pair[Symbol.asyncDispose]();
    folder[Symbol.dispose]();
  });
  // What is replayed at once may take back the statement that has asked for it.
  afterEach(() => pair.resume());

  const COUNT = 200;
  const lines = Array.from({ length: COUNT }, (_, i) => `Line ${i + 1} ${'x'.repeat(60)}`);
  const reading = (READ_LAG: string, more: Record<string, string> = {}) =>
    startReading(pair, { SEGMENT_STORE: folder.store, READ_LAG, ...more });
  const written = async (service: Replica) => {
    const backupId = await newBackup(service);
    await append(service, backupId, lines);
    await finish(service, backupId);
    return backupId;
  };
  const move = async (backupId: string) => {
    await moveAll(pair.primary, eager(folder.store));
    assert.equal((await standing(pair.primary, backupId))[0], COUNT - 1);
  };

  /** All pages of a log; `between` is waited for behind each. */
  async function pages(
    service: Replica,
    request: object,
    between: (page: number) => Promise<unknown> = async () => {},
  ) {
    const told: string[] = [];
    for (let [page, pageToken] = [1, '']; ; page++) {
      const { entries, nextPageToken } = await service.logs.listLogs({ pageSize: 30, ...request, pageToken });
      told.push(...entries.map(({ message }) => message));
      pageToken = nextPageToken;
      if (!pageToken) return told;
      await between(page);
    }
  }

  const WAYS = {
    'from its beginning': {},
    'from its end': { order: LogOrder.NEWEST_FIRST },
    'by a text': { text: 'line' },
  };
  for (const [how, request] of Object.entries(WAYS))
    for (const lag of ['0s', '60s'])
      it(`are listed as a whole ${how} while they leave the table, with READ_LAG=${lag}`, async () => {
        await using service = await reading(lag);
        const { reads } = service.app.standby!;
        const expected = 'order' in request ? lines.toReversed() : lines;
        const backupId = await written(service);
        await pair.level();
        const before = reads.standby;
        const whole = await pages(service, { backupId, ...request }, async page => {
          if (page === 1) await pair.pause();
          if (page === 2) await move(backupId);
          if (page === 4) await pair.resume();
          if (page === 4) await service.stands('READ');
        });
        assert.deepEqual(whole, expected);
        assert.ok(reads.standby > before + 1, 'pages were read on either side');
        // Again, the first page of what it was before, or not of the standby.
        await pair.pause();
        assert.deepEqual(await pages(service, { backupId, ...request }), expected);
      });

  it('are listed, counted and tailed as they were there, when they have moved on the primary alone', async () => {
    await using service = await reading('60s');
    const { reads } = service.app.standby!;
    const backupId = await written(service);
    await pair.level();
    await pair.pause();
    await move(backupId);
    const before = reads.standby;
    assert.equal((await service.logs.summarizeLogs({ backupId })).total, BigInt(COUNT));
    assert.equal((await service.logs.listLogs({ backupId, pageSize: 1000 })).entries.length, COUNT);
    assert.equal(reads.standby, before + 2, 'it was not read there');
    assert.equal(service.app.archive.reads.store, 0);
    await using tail = new Subscriber(service, { backupIds: [backupId] });
    await tail.over();
    assert.deepEqual(tail.history.messages(), lines);
  });

  it('are removed without being missed by the standby, which still has the segments', async () => {
    await using service = await reading('60s', { SEGMENT_CACHE_BYTES: '0', SEGMENT_INTERVAL: '20ms' });
    const backupId = await written(service);
    await move(backupId);
    await pair.level();
    assert.deepEqual(await pages(service, { backupId }), lines);
    await pair.pause();
    await service.logs.purgeLogs({ backupId, maxEntries: 150 });
    const [first] = await pair.primary.query('select firstid from backup_log_heads where backupid = $1', [backupId]);
    assert.equal(Number(first!['firstid']), 151);
    await eventually(async () => assert.deepEqual(await pair.primary.query('select from backup_segment_removals'), []));
    const { fallbacks } = service.app.standby!;
    assert.deepEqual(await pages(service, { backupId }), lines.slice(150));
    assert.ok(service.app.standby!.fallbacks > fallbacks, 'nothing of it was asked for there');
    assert.equal(service.app.archive.reads.lost, 0);
  });

  it('are whole, too, where the address leads to two standbys, one of which is behind', async () => {
    await pair.copy('second');
    await pair.startStandby('second');
    await using service = await reading('60s', { DATABASE_POOL_SIZE: '4' });
    const backupId = await written(service);
    await pair.level();
    await eventually(async () => {
      const [row] = await pair.second.query('select count(*)::int as n from backup_logs where backupid = $1', [
        backupId,
      ]);
      assert.equal(row!['n'], COUNT);
    });
    await pair.pause('second');
    await move(backupId);
    await pair.level();
    const many = <T>(ask: () => Promise<T>) => Promise.all(Array.from({ length: 8 }, ask));
    // Some connections lead to one of them, and some to the other.
    const second = new URL(pair.second.url);
    await service.logs.summarizeLogs({ backupId });
    service.cable.redirect(second);
    await many(() => service.logs.listLogs({ backupId }));
    const { reads } = service.app.standby!;
    const before = reads.standby;
    for (let i = 0; i < 6; i++) {
      const counted = await many(async () => (await service.logs.summarizeLogs({ backupId })).total);
      assert.deepEqual(new Set(counted), new Set([BigInt(COUNT)]));
      for (const request of Object.values(WAYS))
        for (const { entries } of await many(() => service.logs.listLogs({ backupId, pageSize: 1000, ...request })))
          assert.equal(entries.length, COUNT);
    }
    assert.ok(reads.standby > before + 50, `${reads.standby - before} were read there`);
    await pair.stop('second');
  });

  it('are whole whenever they are asked for, while they leave and the standby stands still now and again', async () => {
    const dice = new Dice(Date.now());
    await using current = await reading('0s');
    await using lagging = await reading('60s');
    const services = [current, lagging];
    const logs = await Promise.all(Array.from({ length: 4 }, () => written(current)));
    await pair.level();
    await silence(pair.primary);
    await using _mover = await startReplica(pair.primary.url, { ...eager(folder.store), SEGMENT_BYTES: '2048' });
    const stop = new AbortController();
    const stalling = (async () => {
      while (!stop.signal.aborted) {
        await pair.pause();
        await delay(dice.below(150));
        await pair.resume();
        await delay(dice.below(150));
      }
    })();
    const ask = async (service: Reading, backupId: string) => {
      const pageSize = 50 + dice.below(100);
      const request = dice.pick(Object.values(WAYS));
      const told = await pages(service, { backupId, pageSize, ...request });
      assert.deepEqual('order' in request ? told.toReversed() : told, lines);
      assert.equal((await service.logs.summarizeLogs({ backupId })).total, BigInt(COUNT));
      await using tail = new Subscriber(service, { backupIds: [backupId] });
      await tail.over();
      assert.deepEqual(tail.history.messages(), lines);
    };
    const left = async () =>
      (
        await pair.primary.query('select from backup_log_heads where backupid = any ($1) and movedid < lastid - 1', [
          logs,
        ])
      ).length;
    for (let rounds = 0; rounds < 8 || (await left()) > 0; rounds++)
      await Promise.all(services.flatMap(service => [0, 1].map(() => ask(service, dice.pick(logs)))));
    stop.abort();
    await stalling;
    assert.ok(lagging.app.standby!.reads.standby > 20 && current.app.standby!.reads.standby > 5);
  });
});
