import assert from 'node:assert/strict';
import { Writable } from 'node:stream';
import { pino } from 'pino';
import { startReplica } from '../../support/backend.ts';
import { createDatabase, type Database } from '../../support/database.ts';
import { eventually } from '../../support/eventually.ts';
import { idsOf, putLogs, standing } from './log-rows.ts';
import { contents, DAY, HOUR, left, put } from './rows.ts';

const often = { RETENTION_INTERVAL: '20ms', RETENTION: '30d', RETENTION_SETTING_UI: '2d' };

describe('Retention', () => {
  let database: Database;
  beforeEach(async () => {
    database = await createDatabase();
  });
  afterEach(() => database[Symbol.asyncDispose]());

  it('deletes what nothing has changed for 30 days, in any status, and nothing else', async () => {
    const kept = await put(
      database,
      { changedAgo: 29 * DAY },
      { changedAgo: HOUR, createdAgo: 60 * DAY },
      { status: 700, startsIn: DAY },
      { status: 800, leased: true },
    );
    await put(database, ...[100, 300, 500, 700, 800, 900, 1000].map(status => ({ status, entries: 2 })));
    const told = lines();
    await using _service = await startReplica(database.url, often, told.log);
    await eventually(async () => assert.deepEqual((await left(database)).sort(), kept.sort()));
    await eventually(() => assert.equal(told.of('retention has deleted').length, 1));
    const { level, controllers, logEntries } = told.of('retention has deleted')[0]!;
    assert.deepEqual({ level, controllers, logEntries }, { level: 30, controllers: 7, logEntries: 14 });
  });

  it('deletes what waits for a person to choose settings earlier', async () => {
    const [gone] = await put(database, { status: 500, changedAgo: 3 * DAY });
    const kept = await put(
      database,
      { status: 500, changedAgo: DAY },
      { status: 400, changedAgo: 3 * DAY },
      { status: 1000, changedAgo: 400 * DAY },
    );
    await using _service = await startReplica(database.url, { ...often, RETENTION: 'off' });
    await eventually(async () => assert.ok(!(await left(database)).includes(gone!)));
    assert.deepEqual((await left(database)).sort(), kept.sort());
  });

  it('leaves them to the common rule when that is off', async () => {
    const kept = await put(database, { status: 500, changedAgo: 3 * DAY });
    await using _service = await startReplica(database.url, { ...often, RETENTION_SETTING_UI: 'off' });
    // Twice: by the second time, a whole round has passed.
    for (let i = 0; i < 2; i++) {
      await put(database, { status: 500 });
      await eventually(async () => assert.deepEqual(await left(database), kept));
    }
  });

  it('is shared by replicas that start together', async () => {
    await put(database, ...Array.from({ length: 700 }, () => ({})));
    const told = lines();
    await using _one = await startReplica(database.url, often, told.log);
    await using _other = await startReplica(database.url, often, told.log);
    await eventually(async () => assert.deepEqual(await left(database), []));
    const deleted = () => told.of('retention has deleted').reduce((sum, line) => sum + Number(line['controllers']), 0);
    await eventually(() => assert.equal(deleted(), 700));
    assert.deepEqual(told.warnings(), []);
  });

  it('only says what it would do when it is to be dry', async () => {
    const [old] = await put(database, { entries: 5 });
    await put(database, { changedAgo: HOUR });
    const before = await contents(database);
    const told = lines();
    await using _service = await startReplica(database.url, { ...often, RETENTION_DRY_RUN: 'on' }, told.log);
    await eventually(() => assert.ok(told.of('retention would delete').length >= 2));
    const { controllers, logEntries, sampleBackupIds } = told.of('retention would delete')[0]!;
    assert.deepEqual(
      { controllers, logEntries, sampleBackupIds },
      { controllers: 1, logEntries: 5, sampleBackupIds: [old] },
    );
    assert.deepEqual(await contents(database), before);
    assert.deepEqual(told.of('retention has deleted'), []);
  });

  it('removes entries of 30 days that have no controller, and no others', async () => {
    const [orphan, forsaken, run, young] = await putLogs(
      database,
      { ages: [40 * DAY, 40 * DAY, HOUR] },
      { ages: [40 * DAY] },
      { ages: [40 * DAY], controller: true },
      { ages: [20 * DAY] },
    );
    const told = lines();
    await using _service = await startReplica(database.url, often, told.log);
    await eventually(() => assert.equal(told.of('retention has deleted').length, 1));
    assert.deepEqual(await idsOf(database, orphan!), [3]);
    assert.deepEqual(await standing(database, forsaken!), [null, 0, 0, 0]);
    assert.deepEqual(await idsOf(database, run!), [1]);
    assert.deepEqual(await idsOf(database, young!), [1]);
    const { logs, logEntries } = told.of('retention has deleted')[0]!;
    assert.deepEqual({ logs, logEntries }, { logs: 2, logEntries: 3 });
  });

  it('removes entries of whatever log at the age of logs', async () => {
    const [run, orphan] = await putLogs(
      database,
      { ages: [4 * DAY, 4 * DAY, HOUR], controller: true },
      { ages: [4 * DAY, HOUR] },
    );
    await using _service = await startReplica(database.url, { ...often, LOG_RETENTION: '3d' });
    await eventually(async () => assert.deepEqual(await idsOf(database, run!), [3]));
    await eventually(async () => assert.deepEqual(await idsOf(database, orphan!), [2]));
    assert.equal((await left(database)).length, 1);
  });

  it('says of entries, too, what it would do when it is to be dry', async () => {
    const [run] = await putLogs(database, { ages: [40 * DAY, HOUR], controller: true });
    const [orphan] = await putLogs(database, { ages: [40 * DAY] });
    const told = lines();
    const settings = { ...often, LOG_RETENTION: '3d', RETENTION_DRY_RUN: 'on' };
    await using _service = await startReplica(database.url, settings, told.log);
    await eventually(() => assert.ok(told.of('retention would delete').length >= 4));
    const said = told.of('retention would delete').map(({ logs, logEntries }) => `${logs} ${logEntries}`);
    assert.deepEqual(new Set(said), new Set(['1 1', '2 2']));
    assert.deepEqual(await idsOf(database, run!), [1, 2]);
    assert.deepEqual(await idsOf(database, orphan!), [1]);
  });

  it('says nothing of a database that goes away, and goes on when it is back', async () => {
    const told = lines();
    await using _service = await startReplica(database.url, { ...often, NOTIFY: 'off' }, told.log);
    for (let i = 0; i < 10; i++) {
      await database.query(
        `select pg_terminate_backend(pid) from pg_stat_activity
         where datname = current_database() and application_name = 'backup-management'`,
      );
      await put(database, {});
      await eventually(async () => assert.deepEqual(await left(database), []));
    }
    assert.deepEqual(told.warnings(), []);
  });
});

type Line = Record<string, unknown>;

/** What a service writes into its log. */
function lines() {
  const written: Line[] = [];
  const stream = new Writable({
    write(chunk, _encoding, done) {
      written.push(JSON.parse(String(chunk)));
      done();
    },
  });
  return {
    log: pino({ level: 'info' }, stream),
    of: (message: string) => written.filter(line => line['msg'] === message),
    warnings: () => written.filter(line => Number(line['level']) >= 40),
  };
}
