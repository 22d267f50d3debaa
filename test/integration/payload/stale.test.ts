import { strict as assert } from 'node:assert';
import { randomBytes, randomUUID } from 'node:crypto';
import pg from 'pg';
import { startBackend, startReplica } from '../../support/backend.ts';
import { eventually } from '../../support/eventually.ts';
import { newBackup, newBackupId } from '../../support/writing.ts';
import { downloaded, parts } from './chunks.ts';

describe('Chunks of payloads', () => {
  it('are deleted when nobody needs them and the last of them is an hour old, and not before', async () => {
    await using backend = await startBackend();
    const { database } = backend;
    const put = (backupId: string, chunks: number, oldest: number, newest = oldest) =>
      database.query(
        `insert into backup_payload_chunks (backupid, uploadid, n, data, created_at)
         select $1, $2, n, 'YWJj', floor(extract(epoch from now()))::bigint - case n when $3 then $5::bigint else $4::bigint end
         from generate_series(1, $3::int) n`,
        [backupId, randomUUID(), chunks, oldest, newest],
      );
    const counts = async () =>
      new Map(
        (await database.query('select backupid, count(*)::int as n from backup_payload_chunks group by backupid')).map(
          ({ backupid, n }) => [backupid, n],
        ),
      );

    const current = await newBackup(backend);
    const bytes = randomBytes(25_000);
    await backend.controllers.uploadPayload(parts({ backupId: current }, Buffer.from('replaced')));
    await backend.controllers.uploadPayload(parts({ backupId: current }, bytes));
    await database.query('update backup_payload_chunks set created_at = 1');
    const [left, young, underWay, emptied] = [newBackupId(), newBackupId(), newBackupId(), await newBackup(backend)];
    await put(left, 250, 3700);
    await put(young, 3, 3500);
    await put(underWay, 3, 100_000, 10);
    await backend.controllers.uploadPayload(parts({ backupId: emptied }, bytes));
    await backend.controllers.deleteController({ backupId: emptied });
    await database.query('update backup_payload_chunks set created_at = 1 where backupid = $1', [emptied]);

    {
      await using _sweeping = await startReplica(database.url);
      await eventually(async () => {
        const now = await counts();
        assert.deepEqual([now.get(left), now.get(emptied), now.get(current)], [undefined, undefined, 2]);
      });
    }
    assert.deepEqual(
      await counts(),
      new Map([
        [current, 2],
        [young, 3],
        [underWay, 3],
      ]),
    );
    assert.deepEqual(await downloaded(backend, current), bytes);
  });

  it('stay when their upload becomes the payload just when they are to be deleted', async () => {
    await using backend = await startBackend();
    const { database } = backend;
    const backupId = await newBackup(backend);
    const bytes = randomBytes(200_000);
    await backend.controllers.uploadPayload(parts({ backupId }, bytes));
    const [payload] = await database.query('delete from backup_payloads returning uploadid, size, md5');
    await database.query('update backup_payload_chunks set created_at = 1');
    const finishing = new pg.Client({ connectionString: database.url });
    await finishing.connect();
    try {
      await finishing.query('begin');
      await finishing.query('select from backup_controllers where backupid = $1 for update', [backupId]);
      await using _sweeping = await startReplica(database.url);
      await eventually(async () => {
        const waiting = "select from pg_stat_activity where wait_event_type = 'Lock' and query like '%for key share%'";
        assert.equal((await database.query(waiting)).length, 1);
      });
      await finishing.query('insert into backup_payloads (backupid, uploadid, size, md5) values ($1, $2, $3, $4)', [
        backupId,
        ...Object.values(payload!),
      ]);
      await finishing.query('commit');
    } finally {
      await finishing.end();
    }
    assert.deepEqual(await downloaded(backend, backupId), bytes);
  });
});
