import assert from 'node:assert/strict';
import { acceleratorsOff, type Backend, startBackend } from '../../support/backend.ts';
import { eventually } from '../../support/eventually.ts';
import { locked } from '../../support/locked.ts';
import { type Scrape, scrape } from '../../support/scrape.ts';
import { stall } from '../../support/stalled.ts';
import { refused } from '../../support/status.ts';
import { Subscriber } from '../../support/subscriber.ts';
import { append, newBackup, newBackupId } from '../../support/writing.ts';

const counted = { METRICS_LISTEN: '127.0.0.1:0' };

describe('Metrics', () => {
  let backend: Backend;
  beforeEach(async () => {
    backend = await startBackend({ settings: counted });
  });
  afterEach(() => backend[Symbol.asyncDispose]());

  const now = () => scrape(backend.app.metricsPort);
  /** Waits until these are so. */
  const shows = (wanted: Record<string, number | undefined>) =>
    eventually(async () => {
      const said = await now();
      assert.deepEqual(Object.fromEntries(Object.keys(wanted).map(name => [name, said.value(name)])), wanted);
    });

  it('count every call by method and code, with what it took', async () => {
    const backupId = await newBackup(backend);
    for (let i = 0; i < 3; i++) await backend.controllers.getController({ backupId });
    await refused(backend.controllers.getController({ backupId: newBackupId() }), {
      code: 'NOT_FOUND',
      reason: 'CONTROLLER_NOT_FOUND',
    });
    const said = await now();
    const calls = (method: string, code: string, what = 'count') =>
      said.value(`rpc_server_call_duration_seconds_${what}`, {
        rpc_system_name: 'grpc',
        rpc_method: `backup.v1.ControllerService/${method}`,
        rpc_status_code: code,
      });
    assert.deepEqual(
      [calls('CreateController', 'OK'), calls('GetController', 'OK'), calls('GetController', 'NOT_FOUND')],
      [1, 3, 1],
    );
    assert.equal(calls('DeleteController', 'OK'), undefined);
    const seconds = calls('GetController', 'OK', 'sum')!;
    assert.ok(seconds > 0 && seconds < 3, `${seconds} s`);
  });

  it('show tails, watches and streams while they are open, and what they have sent when they are over', async () => {
    const backupId = newBackupId();
    await append(backend, backupId, ['one', 'two']);
    const tail = new Subscriber(backend, { backupIds: [backupId], follow: true });
    await tail.told('caughtUp');
    const aborter = new AbortController();
    const watch = backend.controllers.watchControllers({}, { signal: aborter.signal })[Symbol.asyncIterator]();
    await watch.next();
    await shows({
      backup_tails_open: 1,
      backup_tail_logs: 1,
      backup_watches_open: 1,
      backup_streams_running: 2,
      backup_calls_running: 2,
      backup_tail_lag_entries: 0,
    });
    await tail[Symbol.asyncDispose]();
    aborter.abort();
    await assert.rejects(async () => {
      for (;;) if ((await watch.next()).done) throw new Error('over');
    });
    await shows({ backup_tails_open: 0, backup_watches_open: 0, backup_streams_running: 0, backup_calls_running: 0 });
    const once = await now();
    for await (const _ of backend.logs.tailLogs({ backupIds: [backupId] }));
    const sent = (said: Scrape) =>
      said.value('backup_stream_messages_sent_total', { rpc_method: 'backup.v1.LogService/TailLogs' })!;
    // Started, entries, caught up, end.
    await eventually(async () => assert.equal(sent(await now()) - sent(once), 4));
  });

  it('show by how much a tail is behind that does not read', async () => {
    const backupId = newBackupId();
    await append(backend, backupId, ['the first']);
    const session = await stall(backend.address, backupId);
    await eventually(async () => assert.equal((await now()).value('backup_tails_open'), 1));
    const long = 'x'.repeat(60_000);
    // 64 KiB go out unread, and one message more waits for the wire.
    await eventually(async () => {
      await append(backend, backupId, [long, long]);
      assert.ok((await now()).value('backup_tail_lag_entries')! >= 10);
    });
    session.destroy();
    await shows({ backup_tail_lag_entries: 0 });
  });

  it('show the queue, what is under way, whose lease has ended, and the courses that are due', async () => {
    await backend.database.query(
      `insert into backup_controllers (backupid, operation, type, itemid, format, interactive, purpose, userid, status, execution, executiontime,
         created_at, leasetoken, leaseexpires)
       select md5(i::text), 'backup', 'course', i, 'moodle2', 0, 10, 1, case when i <= 8 then 700 else 800 end, 2,
         case when i = 1 then now - 5000 when i <= 5 then now - 100 when i <= 8 then now + 1000 else 0 end, now - 9000,
         case when i in (9, 10) then gen_random_uuid() end, (now + 3600) * 1000
       from generate_series(1, 11) i, (select floor(extract(epoch from now()))::bigint as now) clock`,
    );
    await backend.database.query(
      `insert into backup_courses (courseid, nextstarttime, laststarttime, laststatus)
       select i, case when i = 1 then now - 700 when i <= 4 then now - 50 else now + 1000 end, (i % 2) * 77, '1'
       from generate_series(1, 7) i, (select floor(extract(epoch from now()))::bigint as now) clock`,
    );
    await shows({
      backup_queue_depth: 5,
      backup_runs_executing: 3,
      backup_leases_expired: 0,
      backup_courses_overdue: 4,
    });
    const said = await now();
    for (const [name, seconds] of Object.entries({ queue: 5000, courses: 700 })) {
      const age = said.value(`backup_${name}_oldest_due_seconds`)!;
      assert.ok(age >= seconds && age < seconds + 30, `${name}: ${age}`);
    }
  });

  it('count leases that were lost, and courses that were put right', async () => {
    await newBackup(backend);
    await backend.database.query(
      `update backup_controllers set status = 800, leasetoken = gen_random_uuid(), leaseworker = 'gone', leasems = 1000, leaseexpires = 1000`,
    );
    await backend.database.query(`insert into backup_courses (courseid, laststatus) values (1, '2'), (2, '2')`);
    await shows({ backup_leases_lost_total: 1, backup_courses_repaired_total: 2 });
  });

  it('count the calls that share a commit, and what waits to be appended', async () => {
    const backupId = newBackupId();
    await append(backend, backupId, ['its head is there']);
    const before = (await now()).value('backup_batch_calls_count', { batch: 'append' })!;
    let appending: Promise<unknown>;
    {
      await using lock = await locked(
        backend.database,
        `select from backup_log_heads where backupid = '${backupId}' for update`,
      );
      appending = append(backend, backupId, ['x'.repeat(5000)]);
      await lock.waited();
      const others = Array.from({ length: 30 }, () => append(backend, backupId, ['y'.repeat(1000)]));
      appending = Promise.all([appending, ...others]);
      await eventually(async () => {
        const queued = (await now()).value('backup_append_queue_bytes')!;
        assert.ok(queued >= 35_000 && queued < 50_000, `${queued}`);
      });
    }
    await appending;
    await shows({ backup_append_queue_bytes: 0, backup_append_queue_max_bytes: 64 * 1024 * 1024 });
    const said = await now();
    const batches = (what: string) => said.value(`backup_batch_${what}`, { batch: 'append' })!;
    assert.deepEqual([batches('calls_sum'), batches('calls_count') - before], [32, 2]);
    assert.equal(batches('duration_seconds_count'), batches('calls_count'));
    assert.ok(batches('duration_seconds_sum') > 0);
  });

  it('show the connections of both pools, and who waits for one', async () => {
    const backupId = await newBackup(backend);
    const used = (said: Scrape, pool: string, what = 'count') =>
      said.value(`db_client_connection_${what}`, {
        db_client_connection_pool_name: pool,
        ...(what === 'count' && { db_client_connection_state: 'used' }),
      });
    const said = await now();
    assert.deepEqual([used(said, 'main', 'max'), used(said, 'hot', 'max')], [20, 10]);
    let updates: Promise<unknown>;
    {
      await using _lock = await locked(backend.database, 'select from backup_controllers for update');
      updates = Promise.all(
        Array.from({ length: 25 }, () => backend.controllers.cancelController({ backupId }).catch(() => {})),
      );
      await eventually(async () => {
        const said = await now();
        assert.equal(used(said, 'main'), 20);
        assert.ok(used(said, 'main', 'pending_requests')! >= 5);
      });
    }
    await updates;
    await eventually(async () => assert.equal(used(await now(), 'main', 'pending_requests'), 0));
  });

  it('say whether the doorbell hears, and how often it had to connect', async () => {
    if (acceleratorsOff) return shows({ backup_doorbell_connected: undefined });
    await shows({ backup_doorbell_connected: 1, backup_doorbell_connections_total: 1 });
    await backend.database.query(
      "select pg_terminate_backend(pid) from pg_stat_activity where application_name like '%doorbell' and datname = current_database()",
    );
    await shows({ backup_doorbell_connected: 1, backup_doorbell_connections_total: 2 });
  });

  it('show the process', async () => {
    const said = await now();
    assert.ok(said.value('process_resident_memory_bytes')! > 2 ** 20);
    assert.ok(said.value('nodejs_heap_size_used_bytes')! > 2 ** 20);
    assert.ok(said.value('nodejs_eventloop_lag_p99_seconds')! > 0);
    assert.ok(said.names.has('process_cpu_seconds_total'));
  });
});
