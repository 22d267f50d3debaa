import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';
import { Status } from '../../../src/gen/backup/v1/controller_pb.ts';
import { LogLevel } from '../../../src/gen/backup/v1/entry_pb.ts';
import { type Backend, startBackend } from '../../support/backend.ts';
import { eventually } from '../../support/eventually.ts';
import { refused, winners } from '../../support/status.ts';
import { countWaiting } from '../../support/waiting.ts';
import { holding } from '../retention/rows.ts';
import { get, headOf, held, LEASE_LOST } from '../work/work.ts';
import { backup, newId, put } from './requests.ts';

const NOT_FOUND = { code: 'NOT_FOUND', reason: 'CONTROLLER_NOT_FOUND' } as const;
const TABLES = ['backup_controllers', 'backup_logs', 'backup_log_heads', 'backup_log_requests', 'backup_payloads'];

describe('ControllerService.DeleteController', () => {
  let backend: Backend;
  before(async () => {
    backend = await startBackend();
  });
  after(() => backend[Symbol.asyncDispose]());

  const create = async (more = {}) => (await backend.controllers.createController(backup(more))).controller!;
  const remove = (backupId: string, etag = '') => backend.controllers.deleteController({ backupId, etag });

  it('takes the payload, the log, its head and its kept answers along, and nothing of others', async () => {
    const [gone, kept] = [await create({ payload: Buffer.from('state') }), await create()];
    for (const { backupId } of [gone, kept]) {
      await append(backupId, 3);
      await backend.database.query(
        "insert into backup_payloads (backupid, uploadid, size, md5) values ($1, gen_random_uuid(), 0, '')",
        [backupId],
      );
    }
    assert.deepEqual(await rowsOf(gone.backupId), [1, 3, 1, 1, 1]);
    assert.equal((await remove(gone.backupId)).deletedLogEntries, 3n);
    assert.deepEqual(await rowsOf(gone.backupId), [0, 0, 0, 0, 0]);
    assert.deepEqual(await rowsOf(kept.backupId), [1, 3, 1, 1, 1]);
    await refused(backend.controllers.getController({ backupId: gone.backupId }), NOT_FOUND);
  });

  it('deletes in any status, with a log or without', async () => {
    for (const status of [Status.CREATED, Status.AWAITING, Status.EXECUTING, Status.FINISHED_ERR, Status.FINISHED_OK]) {
      const { backupId } = await create();
      await put(backend.database, backupId, status);
      assert.equal((await remove(backupId)).deletedLogEntries, 0n);
      assert.deepEqual(await rowsOf(backupId), [0, 0, 0, 0, 0]);
    }
  });

  it('deletes nothing with a stale etag', async () => {
    const { backupId, etag } = await create();
    await append(backupId, 1);
    const { controller } = await backend.controllers.updateController({
      backupId,
      controller: { itemId: 7n },
      updateMask: { paths: ['item_id'] },
    });
    await refused(remove(backupId, etag), { code: 'ABORTED', reason: 'ETAG_MISMATCH' });
    assert.deepEqual(await rowsOf(backupId), [1, 1, 1, 1, 0]);
    assert.equal((await remove(backupId, controller!.etag)).deletedLogEntries, 1n);
  });

  it('knows the etag of a controller from that of an earlier one of the same backup id', async () => {
    const first = await create();
    await remove(first.backupId);
    await create({ backupId: first.backupId });
    await refused(remove(first.backupId, first.etag), { code: 'ABORTED', reason: 'ETAG_MISMATCH' });
  });

  it('says when there is no such controller, also the second time', async () => {
    await refused(remove(newId()), NOT_FOUND);
    const { backupId } = await create();
    await remove(backupId);
    await refused(remove(backupId), NOT_FOUND);
  });

  it('deletes nothing that a worker holds, and says who it is and until when, unless it is forced', async () => {
    const { backupId, leaseToken } = await held(backend, { claim: { worker: 'worker 7' } });
    await append(backupId, 2);
    const { info } = await refused(remove(backupId), { code: 'FAILED_PRECONDITION', reason: 'CONTROLLER_LEASED' });
    const { lease } = await get(backend, backupId);
    const { seconds, nanos } = lease!.expireTime!;
    const expireTime = new Date(Number(seconds) * 1000 + nanos / 1e6).toISOString();
    assert.deepEqual({ ...info!.metadata }, { worker: 'worker 7', expire_time: expireTime });
    assert.deepEqual(await rowsOf(backupId), [1, 2, 1, 1, 0]);
    const { deletedLogEntries } = await backend.controllers.deleteController({ backupId, force: true });
    assert.equal(deletedLogEntries, 2n);
    assert.deepEqual(await rowsOf(backupId), [0, 0, 0, 0, 0]);
    await refused(backend.controllers.releaseController({ backupId, leaseToken }), LEASE_LOST);
  });

  it('deletes without force what was given back', async () => {
    const lease = await held(backend);
    await backend.controllers.releaseController(lease);
    await remove(lease.backupId);
    assert.deepEqual(await rowsOf(lease.backupId), [0, 0, 0, 0, 0]);
  });

  it('notes what is gone, and when: again when it is created anew and deleted again', async () => {
    const { backupId } = await create();
    const removals = () =>
      backend.database.query('select created_at from backup_removals where backupid = $1', [backupId]);
    assert.deepEqual(await removals(), []);
    await remove(backupId);
    const [first] = await removals();
    await backend.database.query('update backup_removals set created_at = 1000 where backupid = $1', [backupId]);
    await create({ backupId });
    await remove(backupId);
    const all = await removals();
    assert.equal(all.length, 1);
    assert.ok(Number(all[0]!['created_at']) >= Number(first!['created_at']));
  });

  it('lets exactly one of many win that delete at once', async () => {
    const { backupId } = await create();
    const calls = Array.from({ length: 20 }, () => remove(backupId));
    assert.equal(await winners(calls, NOT_FOUND), 1);
  });

  it('leaves no entry behind without a head while others append', async () => {
    const { backupId } = await create();
    const writing = Promise.all(Array.from({ length: 50 }, () => append(backupId, 2)));
    await remove(backupId);
    await writing;
    const [row] = await backend.database.query(
      `select h.lastid, count(l.id) as entries, min(l.id) as first, max(l.id) as last
       from backup_logs l left join backup_log_heads h using (backupid) where backupid = $1 group by 1`,
      [backupId],
    );
    if (row) assert.deepEqual([row['last'], row['entries'], row['first']], [row['lastid'], row['lastid'], '1']);
  });

  it('takes nothing from a log that begins meanwhile', async () => {
    const { backupId } = await create();
    // Deletion has looked for a log then, and has not come to its entries.
    const lock = await holding(backend.database, 'lock table backup_log_writers in share mode');
    const removing = remove(backupId);
    await eventually(async () => assert.equal(await countWaiting(backend.database), 1));
    let over = false;
    const appending = append(backupId, 2).finally(() => {
      over = true;
    });
    await eventually(async () => assert.ok(over || (await countWaiting(backend.database)) === 2));
    await lock[Symbol.asyncDispose]();
    assert.equal((await removing).deletedLogEntries, 0n);
    await appending;
    await append(backupId, 1);
    const ids = await backend.database.query('select id from backup_logs where backupid = $1 order by id', [backupId]);
    assert.deepEqual(
      ids.map(({ id }) => id),
      ['1', '2', '3'],
    );
    assert.deepEqual(await headOf(backend.database, backupId), ['3', null]);
  });

  async function append(backupId: string, lines: number): Promise<void> {
    const entries = Array.from({ length: lines }, () => ({ level: LogLevel.INFO, message: 'x' }));
    await backend.logs.appendLogs({ backupId, entries, requestId: randomUUID() });
  }

  async function rowsOf(backupId: string): Promise<number[]> {
    const counts = TABLES.map(name => `(select count(*)::int from ${name} where backupid = $1) as ${name}`);
    const [row] = await backend.database.query(`select ${counts.join(', ')}`, [backupId]);
    return TABLES.map(name => row![name] as number);
  }
});
