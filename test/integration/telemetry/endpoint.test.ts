import assert from 'node:assert/strict';
import { startReplica } from '../../support/backend.ts';
import { Cable } from '../../support/cable.ts';
import { createDatabase, type Database } from '../../support/database.ts';
import { eventually } from '../../support/eventually.ts';
import { scrape } from '../../support/scrape.ts';
import { put } from '../retention/rows.ts';

const counted = { METRICS_LISTEN: '127.0.0.1:0' };

describe('The endpoint of metrics', () => {
  let database: Database;
  beforeEach(async () => {
    database = await createDatabase();
  });
  afterEach(() => database[Symbol.asyncDispose]());

  it('is not there unless it is asked for', async () => {
    await using replica = await startReplica(database.url);
    assert.equal(replica.app.metricsPort, undefined);
  });

  it('answers GET of two paths, and nothing else', async () => {
    await using replica = await startReplica(database.url, counted);
    const answer = async (path: string, method = 'GET') => {
      const { status } = await fetch(`http://127.0.0.1:${replica.app.metricsPort}${path}`, { method });
      return status;
    };
    await eventually(async () => assert.equal(await answer('/healthz'), 200));
    assert.deepEqual(
      [await answer('/metrics'), await answer('/metrics?name=x'), await answer('/'), await answer('/metrics', 'POST')],
      [200, 200, 404, 405],
    );
  });

  it('goes with the replica', async () => {
    const replica = await startReplica(database.url, counted);
    const { metricsPort } = replica.app;
    await scrape(metricsPort);
    await replica[Symbol.asyncDispose]();
    await assert.rejects(scrape(metricsPort), TypeError);
  });

  it('says nothing of the queue, but all else, when the database does not answer', async () => {
    await put(database, { status: 700 });
    const url = new URL(database.url);
    await using cable = await Cable.start(url);
    url.port = String(cable.port);
    await using replica = await startReplica(url.href, {
      ...counted,
      CALL_TIMEOUT: '1s',
      DATABASE_CONNECT_TIMEOUT: '1s',
    });
    const port = replica.app.metricsPort;
    await eventually(async () => assert.equal((await scrape(port)).value('backup_serving'), 1));
    assert.equal((await scrape(port)).value('backup_runs_executing'), 0);
    // Not one of them fails.
    const executing = async (wanted: number | undefined) => {
      for (;;) {
        const said = await scrape(port);
        if (said.value('backup_runs_executing') === wanted) return said;
      }
    };
    cable.freeze();
    const said = await executing(undefined);
    assert.equal(said.value('backup_queue_depth'), undefined);
    assert.equal(said.value('backup_tails_open'), 0);
    await executing(0);
    await cable[Symbol.asyncDispose]();
    await executing(undefined);
  });

  it('does not wait for a database that hangs, and does not ask it again meanwhile', async () => {
    const url = new URL(database.url);
    await using cable = await Cable.start(url);
    url.port = String(cable.port);
    await using replica = await startReplica(url.href, counted);
    const port = replica.app.metricsPort;
    await eventually(async () => assert.equal((await scrape(port)).value('backup_queue_depth'), 0));
    cable.freeze();
    await eventually(async () => assert.equal((await scrape(port)).value('backup_queue_depth'), undefined));
    const used: (number | undefined)[] = [];
    while (used.length < 5) {
      const said = await scrape(port);
      const labels = { db_client_connection_pool_name: 'hot', db_client_connection_state: 'used' };
      used.push(said.value('db_client_connection_count', labels));
      // New connections come through, so it would know if it asked.
      assert.equal(said.value('backup_queue_depth'), undefined);
    }
    assert.deepEqual(new Set(used), new Set([1]));
    await cable[Symbol.asyncDispose]();
  });

  it('answers /healthz as health does: 503 while the database is away', async () => {
    const url = new URL(database.url);
    const cable = await Cable.start(url);
    url.port = String(cable.port);
    await using replica = await startReplica(url.href, {
      ...counted,
      HEALTH_INTERVAL: '20ms',
      DATABASE_CONNECT_TIMEOUT: '1s',
    });
    const healthz = async () => {
      const response = await fetch(`http://127.0.0.1:${replica.app.metricsPort}/healthz`);
      return [response.status, await response.text()];
    };
    await eventually(async () => assert.deepEqual(await healthz(), [200, 'SERVING\n']));
    await cable[Symbol.asyncDispose]();
    await eventually(async () => assert.deepEqual(await healthz(), [503, 'NOT_SERVING\n']));
    assert.equal((await scrape(replica.app.metricsPort)).value('backup_serving'), 0);
  });

  it('counts what retention deletes, and when it last went round', async () => {
    const old = 400 * 86_400;
    await put(
      database,
      { changedAgo: old, entries: 6 },
      { changedAgo: old, entries: 8 },
      { changedAgo: 5, entries: 3 },
    );
    const rows = async (table: string) => (await database.query(`select from ${table}`)).length;
    const began = Date.now() / 1000;
    await using replica = await startReplica(database.url, {
      ...counted,
      RETENTION: '30d',
      RETENTION_INTERVAL: '20ms',
    });
    await eventually(async () => assert.equal(await rows('backup_controllers'), 1));
    await eventually(async () => {
      const said = await scrape(replica.app.metricsPort);
      const deleted = (table: string) => said.value('backup_retention_deleted_total', { table });
      assert.deepEqual([deleted('backup_controllers'), deleted('backup_logs')], [2, 14]);
      assert.equal(said.value('backup_retention_interval_seconds'), 0.02);
      const last = said.value('backup_retention_last_round_timestamp_seconds')!;
      assert.ok(last >= began && last <= Date.now() / 1000);
    });
  });

  it('says nothing of rounds where nothing is to be deleted', async () => {
    await using replica = await startReplica(database.url, counted);
    const said = await scrape(replica.app.metricsPort);
    assert.equal(said.value('backup_retention_last_round_timestamp_seconds'), undefined);
    assert.equal(said.value('backup_retention_deleted_total', { table: 'backup_controllers' }), 0);
  });
});
