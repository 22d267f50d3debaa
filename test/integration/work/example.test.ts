import { strict as assert } from 'node:assert';
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdirSync, mkdtempSync, readdirSync, rmSync, truncateSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { basename, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { connect } from '../../../examples/client.ts';
import { tailLogs } from '../../../examples/tail.ts';
import { enqueue } from '../../../examples/worker.ts';
import { Outcome, Status } from '../../../src/gen/backup/v1/controller_pb.ts';
import { type Backend, startBackend } from '../../support/backend.ts';
import { eventually } from '../../support/eventually.ts';
import { get, logOf } from './work.ts';

const REPOSITORY = fileURLToPath(new URL('../../..', import.meta.url));
const BACKUPS = join(REPOSITORY, '.data/demo/backups');

describe('The example worker', () => {
  let backend: Backend;
  let folder: string;
  const workers: ChildProcess[] = [];
  beforeEach(async () => {
    backend = await startBackend();
    folder = mkdtempSync(join(tmpdir(), 'worker-'));
  });
  afterEach(async () => {
    for (const worker of workers.splice(0)) {
      if (worker.exitCode === null && worker.signalCode === null) {
        worker.kill('SIGKILL');
        await once(worker, 'exit');
      }
    }
    for (const file of archives()) rmSync(join(BACKUPS, file));
    rmSync(folder, { recursive: true });
    await backend[Symbol.asyncDispose]();
  });

  it('works what waits, one run after another, and leaves cleanly when it is told to', async () => {
    put('a');
    const worker = start();
    const runs = [await queued(), await queued({ folder: '/nowhere' }), await queued()];
    await eventually(async () => {
      const statuses = await Promise.all(runs.map(async id => (await get(backend, id)).status));
      assert.deepEqual(statuses, [Status.FINISHED_OK, Status.FINISHED_ERR, Status.FINISHED_OK]);
    });
    assert.equal(archives().length, 2);
    assert.deepEqual(await logOf(backend.database, runs[0]!), ['1 40 a (1 bytes)']);
    assert.deepEqual(await logOf(backend.database, runs[1]!), ['1 20 the backup failed: there is no folder /nowhere']);
    worker.kill('SIGTERM');
    assert.deepEqual(await once(worker, 'exit'), [0, null]);
  });

  it('says in the log what is wrong with a payload', async () => {
    start();
    const { controllers } = backend;
    const backupId = await queued();
    for (const payload of ['', 'no JSON', 'null', '{"folder": 5}']) {
      const id = await queued({ payload });
      await eventually(async () => assert.equal((await get(backend, id)).status, Status.FINISHED_ERR));
      assert.match((await logOf(backend.database, id)).join(), /the payload must be JSON with the name of a folder/);
    }
    await controllers.deleteController({ backupId, force: true });
  });

  it('that is killed has lost its run: the log says so, and a tail of it ends', async () => {
    large();
    const backupId = await queued();
    const worker = start('--lease', '1');
    await executing(backupId);
    worker.kill('SIGKILL');
    const entries: string[] = [];
    for await (const event of tailLogs(backend.address, [backupId])) {
      if (event.case === 'entries') entries.push(...event.value.entries.map(({ message }) => message));
    }
    assert.match(entries.at(-1)!, /^Lost: /);
    assert.equal((await get(backend, backupId)).outcome, Outcome.LOST);
  });

  it('stops when the run is cancelled, and leaves no archive', async () => {
    large();
    const backupId = await queued();
    start('--lease', '3');
    await executing(backupId);
    await eventually(() => assert.equal(archives().length, 1));
    await backend.controllers.cancelController({ backupId, reason: 'wrong folder' });
    await eventually(async () => assert.equal((await get(backend, backupId)).outcome, Outcome.CANCELLED));
    assert.deepEqual(archives(), []);
    assert.deepEqual((await logOf(backend.database, backupId)).slice(-1), ['1 20 the backup failed: cancelled']);
  });

  it('that was stopped for longer than its lease writes nothing more, and goes on with other work', async () => {
    large();
    const backupId = await queued();
    const worker = start('--lease', '1');
    await executing(backupId);
    await eventually(() => assert.equal(archives().length, 1));
    worker.kill('SIGSTOP');
    await eventually(async () => assert.equal((await get(backend, backupId)).outcome, Outcome.LOST));
    const [before, log] = [await get(backend, backupId), await logOf(backend.database, backupId)];
    worker.kill('SIGCONT');
    await eventually(() => assert.deepEqual(archives(), []));
    rmSync(join(folder, 'large'));
    const next = await queued();
    await eventually(async () => assert.equal((await get(backend, next)).status, Status.FINISHED_OK));
    assert.deepEqual([await get(backend, backupId), await logOf(backend.database, backupId)], [before, log]);
  });

  it('keeps its lease while one part of the work takes longer than that', async () => {
    large();
    const backupId = await queued();
    const worker = start('--lease', '1', '--grace', '0');
    await executing(backupId);
    const [{ leasedat } = {}] = await backend.database.query(
      'select leasedat from backup_controllers where backupid = $1',
      [backupId],
    );
    await eventually(async () => {
      const [{ expires } = {}] = await backend.database.query(
        'select leaseexpires as expires from backup_controllers where backupid = $1',
        [backupId],
      );
      assert.ok(Number(expires) > Number(leasedat) + 3000, 'three times its duration');
    });
    assert.equal((await get(backend, backupId)).status, Status.EXECUTING);
    worker.kill('SIGTERM');
    assert.deepEqual(await once(worker, 'exit'), [0, null]);
    const { status, lease } = await get(backend, backupId);
    assert.deepEqual([status, lease, archives()], [Status.AWAITING, undefined, []], 'it was not given back');
  });

  async function queued(more: { folder?: string; payload?: string } = {}): Promise<string> {
    using service = connect(backend.address);
    if (more.payload === undefined) return enqueue(service, { folder, ...more });
    const { controller } = await service.controllers.createController({
      operation: 1,
      type: 3,
      format: 'tar',
      purpose: 70,
      status: Status.AWAITING,
      payload: Buffer.from(more.payload),
    });
    return controller!.backupId;
  }

  function executing(backupId: string): Promise<void> {
    return eventually(async () => assert.equal((await get(backend, backupId)).status, Status.EXECUTING));
  }

  function start(...more: string[]): ChildProcess {
    const worker = spawn(process.execPath, ['examples/worker.ts', backend.address, ...more], {
      cwd: REPOSITORY,
      stdio: 'ignore',
    });
    workers.push(worker);
    return worker;
  }

  function put(name: string): void {
    mkdirSync(folder, { recursive: true });
    writeFileSync(join(folder, name), 'x');
  }

  /** Takes its time to be read, but no room. */
  function large(): void {
    put('large');
    truncateSync(join(folder, 'large'), 50_000 * 1024 * 1024);
  }

  function archives(): string[] {
    return existsSync(BACKUPS) ? readdirSync(BACKUPS).filter(file => file.startsWith(basename(folder))) : [];
  }
});
