import { strict as assert } from 'node:assert';
import { randomBytes } from 'node:crypto';
import { type Backend, startBackend, startReplica } from '../../support/backend.ts';
import { eventually } from '../../support/eventually.ts';
import { refused } from '../../support/status.ts';
import { finish as finishRun, newBackup, newBackupId } from '../../support/writing.ts';
import { downloaded, md5, parts, stored } from './chunks.ts';

const PIECE = 196_608;

describe('DownloadPayload', () => {
  let backend: Backend;
  before(async () => {
    backend = await startBackend();
  });
  after(() => backend[Symbol.asyncDispose]());

  const sql = (text: string, ...values: unknown[]) => backend.database.query(text, values);
  const download = (backupId: string) => downloaded(backend, backupId);

  /** A payload of more than what a stream has in flight when nobody reads it. */
  async function uploaded(pieces = 25): Promise<{ backupId: string; bytes: Buffer }> {
    const backupId = await newBackup(backend);
    const bytes = randomBytes(pieces * PIECE - 1);
    await backend.controllers.uploadPayload(parts({ backupId }, bytes));
    return { backupId, bytes };
  }

  /** Reads a download up to its first chunk, does something, and reads the rest. */
  async function interrupted(backupId: string, meanwhile: () => Promise<unknown>, from = backend.controllers) {
    const chunks: Uint8Array[] = [];
    for await (const { part } of from.downloadPayload({ backupId })) {
      if (part.case !== 'chunk') continue;
      if (chunks.push(part.value) === 1) await meanwhile();
    }
    return Buffer.concat(chunks);
  }

  it('delivers what was written with the controller, what another program wrote, and nothing', async () => {
    const backupId = await newBackup(backend);
    assert.equal((await download(backupId)).length, 0);
    const bytes = randomBytes(2 * PIECE + 1);
    await backend.controllers.updateController({
      backupId,
      controller: { payload: bytes },
      updateMask: { paths: ['payload'] },
    });
    assert.deepEqual(await download(backupId), bytes);
    await sql("update backup_controllers set controller = 'not base64!' where backupid = $1", backupId);
    assert.deepEqual(await download(backupId), Buffer.from('not base64!'));
    await refused(download(newBackupId()), { code: 'NOT_FOUND', reason: 'CONTROLLER_NOT_FOUND' });
  });

  it('delivers what older versions stored in larger pieces', async () => {
    const { backupId, bytes } = await uploaded(6);
    await sql(
      `with old as (delete from backup_payload_chunks where backupid = $1 returning uploadid)
       select distinct uploadid from old`,
      backupId,
    ).then(([row]) =>
      sql(
        `insert into backup_payload_chunks (backupid, uploadid, n, data)
         select backupid, $2, n, substr(controller, (n - 1) * 262144 + 1, 262144)
         from backup_controllers, generate_series(1, 6) n where backupid = $1`,
        backupId,
        row!['uploadid'],
      ),
    );
    assert.deepEqual(await download(backupId), bytes);
  });

  it('delivers nothing any more when the run has succeeded', async () => {
    const { backupId } = await uploaded(1);
    await finishRun(backend, backupId);
    assert.equal((await download(backupId)).length, 0);
    assert.equal((await stored(backend.database, backupId)).size, null);
  });

  it('delivers what an update wrote over an upload', async () => {
    const { backupId } = await uploaded(1);
    const payload = randomBytes(PIECE - 1);
    await backend.controllers.updateController({
      backupId,
      controller: { payload },
      updateMask: { paths: ['payload'] },
    });
    assert.deepEqual(await download(backupId), payload);
  });

  it('delivers the column when another program has written over an upload', async () => {
    const { backupId } = await uploaded(2);
    await sql('update backup_controllers set controller = $2 where backupid = $1', backupId, 'bmV3');
    assert.deepEqual(await download(backupId), Buffer.from('new'));
  });

  it('refuses a column of more than 16 MiB that was not uploaded, and delivers one of as much', async () => {
    const backupId = await newBackup(backend);
    const repeat = 'update backup_controllers set controller = repeat($2, $3) where backupid = $1';
    await sql(repeat, backupId, 'YWJj', 4 * 1024 * 1024);
    assert.equal((await download(backupId)).length, 12 * 1024 * 1024);
    await sql(repeat, backupId, 'YWJj', 4 * 1024 * 1024 + 1);
    await refused(download(backupId), { code: 'FAILED_PRECONDITION', reason: 'PAYLOAD_TOO_LARGE' });
  });

  it('says that the bytes are damaged, and what their checksums are', async () => {
    const damages = [
      "update backup_payload_chunks set data = overlay(data placing 'AAAAAAAA' from 9) where backupid = $1 and n = 2",
      'update backup_payload_chunks set data = substr(data, 1, 1000) where backupid = $1 and n = 3',
      'delete from backup_payload_chunks where backupid = $1 and n = 2',
      'delete from backup_payload_chunks where backupid = $1 and n = 6',
      'delete from backup_payload_chunks where backupid = $1',
    ];
    for (const damage of damages) {
      const { backupId, bytes } = await uploaded(6);
      await sql(damage, backupId);
      const { info } = await refused(download(backupId), { code: 'DATA_LOSS', reason: 'CHECKSUM_MISMATCH' });
      assert.equal(info!.metadata['expected'], md5(bytes));
      assert.match(info!.metadata['found']!, /^[0-9a-f]{32}$/);
      assert.notEqual(info!.metadata['found'], md5(bytes));
    }
  });

  it('delivers the whole of what it began with, or says that it was replaced or emptied', async () => {
    const { backupId, bytes } = await uploaded();
    const replace = () => backend.controllers.uploadPayload(parts({ backupId }, Buffer.from('new')));
    assert.deepEqual(await interrupted(backupId, replace), bytes);
    const gone = async (id: string) => {
      await sql('delete from backup_payload_chunks where backupid = $1 and created_at < 2', id);
    };
    const changes = [
      (id: string) => backend.controllers.uploadPayload(parts({ backupId: id }, Buffer.from('new'))),
      (id: string) => finishRun(backend, id),
      (id: string) => backend.controllers.deleteController({ backupId: id }),
    ];
    for (const change of changes) {
      const { backupId } = await uploaded();
      await sql('update backup_payload_chunks set created_at = 1 where backupid = $1', backupId);
      const meanwhile = async () => {
        await change(backupId);
        await gone(backupId);
      };
      const { retry } = await refused(interrupted(backupId, meanwhile), { code: 'ABORTED', reason: 'CONFLICT' });
      assert.ok(retry?.retryDelay);
    }
  });

  it('ends with UNAVAILABLE when the replica shuts down', async () => {
    const { backupId } = await uploaded();
    await using replica = await startReplica(backend.database.url);
    const closed: PromiseLike<void>[] = [];
    const meanwhile = async () => {
      closed.push(replica[Symbol.asyncDispose]());
    };
    const draining = { code: 'UNAVAILABLE', reason: 'DRAINING' } as const;
    await refused(interrupted(backupId, meanwhile, replica.controllers), draining);
    await Promise.all(closed);
  });

  it('ends one that is not read in time', async () => {
    const { backupId } = await uploaded();
    await using replica = await startReplica(backend.database.url, { WRITE_TIMEOUT: '1500ms' });
    const unread = () => eventually(() => assert.equal(replica.app.admission.calls, 0));
    const late = { code: 'DEADLINE_EXCEEDED', reason: 'DEADLINE_EXCEEDED' } as const;
    await refused(interrupted(backupId, unread, replica.controllers), late);
  });
});
