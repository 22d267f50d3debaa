import assert from 'node:assert/strict';
import pg from 'pg';
import { Outcome } from '../../../src/gen/backup/v1/controller_pb.ts';
import { LogLevel } from '../../../src/gen/backup/v1/entry_pb.ts';
import { folderStore } from '../../../src/segment/folder.ts';
import { moveSegment } from '../../../src/segment/move.ts';
import { type Replica, startReplica } from '../../support/backend.ts';
import { describeOnCitus, type WorkerNode, workersOf } from '../../support/citus.ts';
import { createEmptyDatabase, type Database } from '../../support/database.ts';
import { eventually } from '../../support/eventually.ts';
import { canStartCitus, startOwnCitus } from '../../support/own-citus.ts';
import { append, newBackupId } from '../../support/writing.ts';
import { createTables, importing, log, openPostgresMoodle } from '../moodle/moodle.ts';
import { newFolder } from '../segment/moving.ts';
import { get, headOf, held, type Lease, logOf, queued } from '../work/work.ts';

const GATE = 7;

describeOnCitus('A coordinator that breaks while another node commits', () => {
  if (!canStartCitus)
    return console.warn('LEFT OUT: no Citus is installed here to start a cluster of (TEST_CITUS_BIN)');
  let database: Database;
  let backend: Replica;
  before(async () => {
    database = await startOwnCitus();
    backend = await startReplica(database.url, { ENGINE: 'citus' });
  });
  after(async () => {
    await backend?.[Symbol.asyncDispose]();
    await database?.[Symbol.asyncDispose]();
  });

  it('has finished a run and sealed its log, or neither', async () => {
    const lease = await held(backend);
    await append(backend, lease.backupId, ['before']);
    await using gate = await Gate.before(database, lease.backupId);
    const lost = finished(lease).catch((error: Error) => error);
    await gate.breakCoordinator();
    assert.ok((await lost) instanceof Error);
    await gate.open();
    await back();
    assert.deepEqual(
      [(await get(backend, lease.backupId)).outcome, await headOf(database, lease.backupId)],
      [Outcome.UNSPECIFIED, ['1', null]],
    );
    await finished(lease);
    assert.deepEqual(await headOf(database, lease.backupId), ['2', '2']);
    assert.deepEqual(await logOf(database, lease.backupId), ['0 40 before', '1 40 last']);
  });

  it('has cancelled a run and sealed its log, or neither', async () => {
    const { backupId } = await queued(backend);
    await append(backend, backupId, ['before']);
    await using gate = await Gate.before(database, backupId);
    const lost = backend.controllers.cancelController({ backupId }).catch((error: Error) => error);
    await gate.breakCoordinator();
    assert.ok((await lost) instanceof Error);
    await gate.open();
    await back();
    assert.deepEqual(
      [(await get(backend, backupId)).outcome, await headOf(database, backupId)],
      [Outcome.UNSPECIFIED, ['1', null]],
    );
    await backend.controllers.cancelController({ backupId });
    assert.deepEqual(await headOf(database, backupId), ['2', '2']);
  });

  it('has deleted a run and its log, or neither', async () => {
    const { backupId } = await queued(backend);
    await append(backend, backupId, ['before']);
    await using gate = await Gate.before(database, backupId);
    const lost = backend.controllers.deleteController({ backupId }).catch((error: Error) => error);
    await gate.breakCoordinator();
    assert.ok((await lost) instanceof Error);
    await gate.open();
    await back();
    await get(backend, backupId);
    assert.deepEqual(await logOf(database, backupId), ['0 40 before']);
    assert.equal((await backend.controllers.deleteController({ backupId })).deletedLogEntries, 1n);
  });

  it('has moved entries into a segment and keeps its object, or neither', async () => {
    const { backupId } = await queued(backend);
    await append(backend, backupId, ['one', 'two', 'three']);
    await backend.controllers.cancelController({ backupId });
    await database.query('update backup_log_heads set lastmicros = 1 where backupid = $1', [backupId]);
    using folder = newFolder();
    const store = folderStore(folder.path);
    const pool = new pg.Pool({ connectionString: database.url });
    pool.on('connect', client => client.on('error', () => {}));
    await using gate = await Gate.before(database, backupId);
    const move = () =>
      moveSegment({ pool, store, signal: AbortSignal.timeout(30_000) }, backupId, { after: 1, bytes: 4096 });
    const lost = move().catch((error: Error) => error);
    await gate.breakCoordinator();
    assert.ok((await lost) instanceof Error);
    await gate.open();
    // What is written down as one to remove must be no part of a log.
    const [kept, removed] = [
      await database.query('select key from backup_log_segments where backupid = $1', [backupId]),
      await database.query('select key from backup_segment_removals where backupid = $1', [backupId]),
    ];
    assert.deepEqual([kept, removed.length], [[], 1]);
    assert.equal((await logOf(database, backupId)).length, 4);
    await pool.end();
  });

  it('has imported entries of a Moodle and noted how far, or neither', async () => {
    await using source = await createEmptyDatabase();
    await using moodle = await openPostgresMoodle(source.url);
    await createTables(moodle);
    const [backupId, lines] = [newBackupId(), ['one', 'two', 'three']];
    for (const [i, line] of lines.entries()) await log(moodle, i + 1, backupId, line);
    await using gate = await Gate.before(database, backupId);
    const args = ['--from', moodle.url, '--to', database.url];
    const lost = importing(args);
    await gate.breakCoordinator();
    assert.equal((await lost).code, 1);
    await gate.open();
    await back();
    assert.deepEqual(await logOf(database, backupId), []);
    assert.equal((await importing(args)).code, 0);
    const rows = await database.query('select message from backup_logs where backupid = $1 order by id', [backupId]);
    assert.deepEqual(
      rows.map(({ message }) => message),
      lines,
    );
  });

  /** The service has connections again. */
  const back = () => eventually(() => backend.controllers.listControllers({}));

  const finished = ({ backupId, leaseToken }: Lease) =>
    backend.controllers.finishControllers({
      finishes: [
        { backupId, leaseToken, outcome: Outcome.SUCCEEDED, entries: [{ level: LogLevel.INFO, message: 'last' }] },
      ],
    });
});

/** Before which the node of a log waits when it is to commit a change of its head, or to prepare that, and is not to be cancelled any more. */
class Gate implements AsyncDisposable {
  readonly #database: Database;
  readonly #node: WorkerNode;
  readonly #keeper: pg.Client;
  #closed = true;

  private constructor(database: Database, node: WorkerNode, keeper: pg.Client) {
    this.#database = database;
    this.#node = node;
    this.#keeper = keeper;
  }

  static async before(database: Database, backupId: string): Promise<Gate> {
    const [shard] = await database.query(
      `select shard_name, nodeport from citus_shards where table_name = 'backup_log_heads'::regclass
        and shardid = get_shard_id_for_distribution_column('backup_log_heads', $1::text)`,
      [backupId],
    );
    const node = (await workersOf(database)).find(({ port }) => port === shard!['nodeport'])!;
    await node.query(`
      set citus.enable_ddl_propagation = off;
      create or replace function gate() returns trigger language plpgsql as $$ begin
        loop
          begin
            perform pg_advisory_lock_shared(${GATE});
            perform pg_advisory_unlock_shared(${GATE});
            return null;
          exception when query_canceled then
          end;
        end loop;
      end $$;
      drop trigger if exists gate on ${shard!['shard_name']};
      create constraint trigger gate after insert or update or delete on ${shard!['shard_name']}
        deferrable initially deferred for each row execute function gate()`);
    const keeper = new pg.Client({ connectionString: Object.assign(new URL(database.url), { port: node.port }).href });
    await keeper.connect();
    await keeper.query(`select pg_advisory_lock(${GATE})`);
    return new Gate(database, node, keeper);
  }

  /** When the node waits: kills who has asked it to commit, and with that, for a moment, everybody else on the coordinator. */
  async breakCoordinator(): Promise<void> {
    await eventually(async () => {
      const waiting = await this.#node.query(
        "select 1 from pg_stat_activity where datname = current_database() and wait_event = 'advisory' and query ~* '^(commit|prepare)'",
      );
      assert.equal(waiting.length, 1);
    });
    const [committing, ...others] = await this.#database.query(
      "select pid from pg_stat_activity where datname = current_database() and query ~* '^commit' and state = 'active'",
    );
    assert.deepEqual(others, []);
    const checkpointer = () =>
      this.#database.query("select pid from pg_stat_activity where backend_type = 'checkpointer'");
    const before = await checkpointer();
    process.kill(committing!['pid'] as number, 'SIGKILL');
    // All processes are new when it has recovered.
    await eventually(async () => assert.notDeepEqual(await checkpointer(), before));
  }

  /** Returns when the node has done what it was told to, and the cluster has cleared up what was left in between. */
  async open(): Promise<void> {
    if (!this.#closed) return;
    this.#closed = false;
    await this.#keeper.end();
    await eventually(async () => {
      const busy = await this.#node.query(
        "select query from pg_stat_activity where datname = current_database() and state = 'active' and query ~* '^(commit|prepare)'",
      );
      assert.deepEqual(busy, []);
    });
    await this.#database.query('select recover_prepared_transactions()');
    assert.deepEqual(
      await this.#node.query('select gid from pg_prepared_xacts where database = current_database()'),
      [],
    );
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.open();
  }
}
