import assert from 'node:assert/strict';
import pg from 'pg';
import { Outcome } from '../../../src/gen/backup/v1/controller_pb.ts';
import { LogLevel } from '../../../src/gen/backup/v1/entry_pb.ts';
import { type Backend, startBackend } from '../../support/backend.ts';
import { describeOnCitus, type WorkerNode, workersOf } from '../../support/citus.ts';
import { eventually } from '../../support/eventually.ts';
import { append } from '../../support/writing.ts';
import { get, headOf, held, type Lease, logOf, queued } from '../work/work.ts';

const GATE = 7;

describeOnCitus('A coordinator that breaks while another node commits', function () {
  this.timeout(60_000);
  let backend: Backend;
  beforeEach(async () => {
    backend = await startBackend();
  });
  afterEach(() => backend[Symbol.asyncDispose]());

  it('has finished a run and sealed its log, or neither', async () => {
    const lease = await held(backend);
    await append(backend, lease.backupId, ['before']);
    await using gate = await Gate.before(backend, lease.backupId);
    const lost = finished(lease).catch((error: Error) => error);
    await gate.breakCoordinator();
    assert.ok((await lost) instanceof Error);
    await gate.open();
    assert.deepEqual(
      [(await get(backend, lease.backupId)).outcome, await headOf(backend.database, lease.backupId)],
      [Outcome.UNSPECIFIED, ['1', null]],
    );
    await finished(lease);
    assert.deepEqual(await headOf(backend.database, lease.backupId), ['2', '2']);
    assert.deepEqual(await logOf(backend.database, lease.backupId), ['0 40 before', '1 40 last']);
  });

  it('has cancelled a run and sealed its log, or neither', async () => {
    const { backupId } = await queued(backend);
    await append(backend, backupId, ['before']);
    await using gate = await Gate.before(backend, backupId);
    const lost = backend.controllers.cancelController({ backupId }).catch((error: Error) => error);
    await gate.breakCoordinator();
    assert.ok((await lost) instanceof Error);
    await gate.open();
    assert.deepEqual(
      [(await get(backend, backupId)).outcome, await headOf(backend.database, backupId)],
      [Outcome.UNSPECIFIED, ['1', null]],
    );
    await backend.controllers.cancelController({ backupId });
    assert.deepEqual(await headOf(backend.database, backupId), ['2', '2']);
  });

  it('has deleted a run and its log, or neither', async () => {
    const { backupId } = await queued(backend);
    await append(backend, backupId, ['before']);
    await using gate = await Gate.before(backend, backupId);
    const lost = backend.controllers.deleteController({ backupId }).catch((error: Error) => error);
    await gate.breakCoordinator();
    assert.ok((await lost) instanceof Error);
    await gate.open();
    await get(backend, backupId);
    assert.deepEqual(await logOf(backend.database, backupId), ['0 40 before']);
    assert.equal((await backend.controllers.deleteController({ backupId })).deletedLogEntries, 1n);
  });

  const finished = ({ backupId, leaseToken }: Lease) =>
    backend.controllers.finishControllers({
      finishes: [
        { backupId, leaseToken, outcome: Outcome.SUCCEEDED, entries: [{ level: LogLevel.INFO, message: 'last' }] },
      ],
    });
});

/** Before which the node of a log waits when it is to commit a change of its head, or to prepare that, and is not to be cancelled any more. */
class Gate implements AsyncDisposable {
  readonly #backend: Backend;
  readonly #node: WorkerNode;
  readonly #keeper: pg.Client;
  #closed = true;

  private constructor(backend: Backend, node: WorkerNode, keeper: pg.Client) {
    this.#backend = backend;
    this.#node = node;
    this.#keeper = keeper;
  }

  static async before(backend: Backend, backupId: string): Promise<Gate> {
    const { database } = backend;
    const [shard] = await database.query(
      `select shard_name, nodeport from citus_shards where table_name = 'backup_log_heads'::regclass
        and shardid = get_shard_id_for_distribution_column('backup_log_heads', $1::text)`,
      [backupId],
    );
    const node = (await workersOf(database)).find(({ port }) => port === shard!['nodeport'])!;
    await node.query(`
      set citus.enable_ddl_propagation = off;
      create function gate() returns trigger language plpgsql as $$ begin
        loop
          begin
            perform pg_advisory_lock_shared(${GATE});
            perform pg_advisory_unlock_shared(${GATE});
            return null;
          exception when query_canceled then
          end;
        end loop;
      end $$;
      create constraint trigger gate after insert or update or delete on ${shard!['shard_name']}
        deferrable initially deferred for each row execute function gate()`);
    const keeper = new pg.Client({ connectionString: Object.assign(new URL(database.url), { port: node.port }).href });
    await keeper.connect();
    await keeper.query(`select pg_advisory_lock(${GATE})`);
    return new Gate(backend, node, keeper);
  }

  /** When the node waits: ends who has asked it to commit. */
  async breakCoordinator(): Promise<void> {
    await eventually(async () => {
      const waiting = await this.#node.query(
        "select 1 from pg_stat_activity where datname = current_database() and wait_event = 'advisory' and query ~* '^(commit|prepare)'",
      );
      assert.equal(waiting.length, 1);
    });
    const ended = await this.#backend.database.query(
      "select pg_terminate_backend(pid, 5000) as ended from pg_stat_activity where datname = current_database() and query ~* '^commit' and state = 'active'",
    );
    assert.deepEqual(ended, [{ ended: true }]);
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
    await this.#backend.database.query('select recover_prepared_transactions()');
    assert.deepEqual(
      await this.#node.query('select gid from pg_prepared_xacts where database = current_database()'),
      [],
    );
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.open();
  }
}
