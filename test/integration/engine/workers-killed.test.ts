import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';
import type { ServiceError } from '@grpc/grpc-js';
import { Outcome, Status } from '../../../src/gen/backup/v1/controller_pb.ts';
import { LogLevel } from '../../../src/gen/backup/v1/entry_pb.ts';
import { type Backend, type Replica, startBackend } from '../../support/backend.ts';
import { describeOnCitus, type WorkerNode, workersOf } from '../../support/citus.ts';
import type { Database } from '../../support/database.ts';
import { eventually } from '../../support/eventually.ts';
import { isPassing } from '../../support/status.ts';
import { Subscriber } from '../../support/subscriber.ts';
import { newBackupId, truthOf } from '../../support/writing.ts';
import { fillQueue } from '../work/work.ts';

const LOGS = 4;
const RUNS = 60;
const AGED = 40;
const STRIKES = 12;

describeOnCitus('Backends of nodes that are killed amid appends, ends of runs and retention', () => {
  it('lose and double nothing that was acknowledged, and every run that has ended is sealed', async () => {
    await using backend = await startBackend({
      replicas: 2,
      settings: { TAIL_POLL: '200ms', SWEEP_INTERVAL: '1h', LEASE_DURATION: '10m' },
    });
    const { database } = backend;
    const logs = Array.from({ length: LOGS }, newBackupId);
    const runs = await fillQueue(database, RUNS);
    const aged = await putAged(backend, AGED);
    await using tail = new Subscriber(backend.replicas[1]!, { backupIds: logs, follow: true });
    await tail.told('started');

    const nodes = await workersOf(database);
    const work = { over: false };
    const kept = logs.map(() => [] as string[]);
    const writing = logs.map((backupId, i) => write(backend.replicas[i % 2]!, backupId, kept[i]!, work));
    const doing = Promise.all([...writing, endRuns(backend), purgeAged(backend, AGED)]);
    const killed = await Promise.race([
      strike(database, nodes, kept),
      doing.then(() => assert.fail('it was over too early')),
    ]);
    work.over = true;
    await doing;
    assert.ok(killed > STRIKES, `only ${killed} backends were killed`);

    await eventually(async () => {
      await recover(database);
      for (const node of nodes)
        assert.deepEqual(await node.query('select 1 from pg_prepared_xacts where database = current_database()'), []);
    });

    const truth = await truthOf(database, logs);
    for (const [i, backupId] of logs.entries()) {
      const entries = truth.filter(row => row.backupid === backupId);
      assert.deepEqual(
        entries.map(row => row.message),
        kept[i],
      );
      assert.deepEqual(
        entries.map(row => row.id),
        entries.map((_, k) => String(k + 1)),
      );
    }
    await tail.received(truth.length);
    tail.history.complete(truth);

    const ended = await database.query('select backupid, status from backup_controllers where backupid = any ($1)', [
      runs,
    ]);
    assert.deepEqual([ended.length, new Set(ended.map(run => run['status']))], [RUNS, new Set([1000])]);
    const heads = await database.query(
      'select backupid, lastid, sealedid from backup_log_heads where backupid = any ($1)',
      [runs],
    );
    assert.equal(heads.length, RUNS);
    for (const head of heads)
      assert.deepEqual([head['lastid'], head['sealedid']], ['3', '3'], String(head['backupid']));
    const lines = await truthOf(database, runs);
    assert.equal(new Set(lines.map(({ backupid, message }) => `${backupid} ${message}`)).size, 3 * RUNS);
    assert.equal(lines.length, 3 * RUNS);

    for (const table of ['backup_controllers', 'backup_log_heads', 'backup_logs'])
      assert.deepEqual(await database.query(`select 1 from ${table} where backupid = any ($1)`, [aged]), [], table);
    console.log(
      `      ${JSON.stringify({ killed, appended: truth.length, ended: RUNS, purged: AGED, again: asked.again })}`,
    );
  });
});

/** What was asked again because nobody knew whether it had been done. */
const asked = { again: 0 };

/** Asks until there is an answer. */
async function insist<T>(
  ask: () => Promise<T>,
  otherwise: (error: ServiceError) => T | undefined = () => undefined,
): Promise<T> {
  for (;;) {
    try {
      return await ask();
    } catch (error) {
      const given = otherwise(error as ServiceError);
      if (given !== undefined) return given;
      if (!isPassing(error as ServiceError)) throw error;
      asked.again++;
    }
  }
}

/** Appends to a log, one after the other, and writes down what was acknowledged. */
async function write({ logs }: Replica, backupId: string, kept: string[], work: { over: boolean }): Promise<void> {
  for (let n = 1; !work.over; n++) {
    const message = `entry ${n}`;
    const request = { backupId, entries: [{ level: LogLevel.INFO, message }], requestId: randomUUID() };
    await insist(() => logs.appendLogs(request));
    kept.push(message);
  }
}

/** Claims runs, appends to each under its lease, and finishes it. A claim whose answer was lost is none: the run would wait for its lease to end. */
async function endRuns({ replicas }: Backend): Promise<void> {
  for (let done = 0; done < RUNS; ) {
    const { controllers, logs } = replicas[done % 2]!;
    const claim = { worker: 'w', maxControllers: 1, requestId: randomUUID() };
    const { claimed } = await insist(() => controllers.claimControllers(claim));
    for (const { controller, leaseToken } of claimed) {
      const { backupId } = controller!;
      const entries = ['begun', 'halfway'].map(message => ({ level: LogLevel.INFO, message }));
      await insist(() => logs.appendLogs({ backupId, leaseToken, entries, requestId: randomUUID() }));
      const finishes = [
        { backupId, leaseToken, outcome: Outcome.SUCCEEDED, entries: [{ level: LogLevel.INFO, message: 'ended' }] },
      ];
      await insist(() => controllers.finishControllers({ finishes, requestId: randomUUID() }));
      done++;
    }
  }
}

/** Ended runs, each with a log, that have not changed for a year. */
async function putAged({ database }: Backend, count: number): Promise<string[]> {
  const ids = await fillQueue(database, count, 'aged');
  await database.query(
    `update backup_controllers set status = 1000, created_at = 1, updated_at = 1 where backupid = any ($1)`,
    [ids],
  );
  for (const id of ids) {
    await database.query('insert into backup_log_heads (backupid, lastid, sealedid) values ($1, 50, 50)', [id]);
    await database.query(
      `insert into backup_logs (backupid, id, loglevel, message, created_at) select $1, i, 40, 'x', 1 from generate_series(1, 50) i`,
      [id],
    );
  }
  return ids;
}

/** A few at a time, so that it lasts. */
async function purgeAged({ replicas }: Backend, count: number): Promise<void> {
  for (let [purged, i] = [0n, 0]; purged < count; i++) {
    const request = {
      olderThan: { seconds: 100n * 86_400n },
      statuses: [Status.FINISHED_OK],
      maxControllers: 2,
      requestId: randomUUID(),
    };
    const { controllers } = await insist(() => replicas[i % 2]!.controllers.purgeControllers(request));
    purged += controllers;
  }
}

/** Has what nodes had prepared when they were hit committed or taken back: what the cluster does by itself once in `citus.recover_2pc_interval`. */
async function recover(database: Database): Promise<void> {
  await database.query('select recover_prepared_transactions()');
}

/** Kills all backends that the coordinator has on one node, and then on another, each time when every writer has got on; returns how many. */
async function strike(database: Database, nodes: WorkerNode[], kept: string[][]): Promise<number> {
  let killed = 0;
  for (let i = 0; i < STRIKES; i++) {
    const before = kept.map(({ length }) => length);
    await eventually(() => {
      for (const [k, { length }] of kept.entries()) assert.ok(length > before[k]! + 5, 'a writer does not get on');
    }, 100_000);
    const gone = await nodes[i % nodes.length]!.query(
      `select pg_terminate_backend(pid) from pg_stat_activity
       where datname = current_database() and application_name like 'citus_internal%'`,
    );
    killed += gone.length;
    // What a node had prepared stays locked until then.
    await recover(database);
  }
  return killed;
}
