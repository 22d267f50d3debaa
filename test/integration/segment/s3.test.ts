import assert from 'node:assert/strict';
import { AwsClient } from 'aws4fetch';
import { type Backend, startBackend, startReplica } from '../../support/backend.ts';
import { eventually } from '../../support/eventually.ts';
import { account, type S3, startS3 } from '../../support/s3.ts';
import { refused } from '../../support/status.ts';
import { Subscriber } from '../../support/subscriber.ts';
import { append, finish, newBackup } from '../../support/writing.ts';
import { eager, moveAll, standing } from './moving.ts';

describe('Segments in S3', () => {
  let s3: S3;
  let settings: Record<string, string>;
  let backend: Backend;
  before(async () => {
    s3 = await startS3('logs');
    settings = { SEGMENT_STORE: `s3://logs/old ones/2026?endpoint=${s3.endpoint}&region=eu-central-1`, ...account };
    backend = await startBackend({ settings: { ...settings, SEGMENT_CACHE_BYTES: '0' } });
  });
  after(async () => {
    await backend[Symbol.asyncDispose]();
    await s3[Symbol.asyncDispose]();
  });

  const messages = Array.from({ length: 150 }, (_, i) => `line ${i} ${'x'.repeat(80)}`);
  async function moved(): Promise<string> {
    const backupId = await newBackup(backend);
    await append(backend, backupId, messages);
    await finish(backend, backupId);
    await moveAll(backend.database, { ...eager(settings['SEGMENT_STORE']!), ...account });
    assert.equal((await standing(backend.database, backupId))[0], 149);
    return backupId;
  }
  const keys = async () => {
    const client = new AwsClient({
      accessKeyId: 'S3RVER',
      secretAccessKey: 'S3RVER',
      service: 's3',
      region: 'eu-central-1',
    });
    const xml = await (await client.fetch(`${s3.endpoint}/logs?list-type=2`)).text();
    return [...xml.matchAll(/<Key>([^<]+)<\/Key>/g)].map(([, key]) => key!);
  };

  it('are written below the prefix, with signatures that a server has checked, and read back', async () => {
    const backupId = await moved();
    const { entries } = await backend.logs.listLogs({ backupId, pageSize: 1000 });
    assert.deepEqual(
      entries.map(({ message }) => message),
      messages,
    );
    await using tail = new Subscriber(backend, { backupIds: [backupId] });
    await tail.over();
    assert.deepEqual(tail.history.messages(), messages);
    const own = (await keys()).filter(key => key.startsWith(`old ones/2026/${backupId}/`));
    assert.ok(own.length > 2);
    await backend.controllers.deleteController({ backupId });
    await using _cleaner = await startReplica(backend.database.url, { ...settings, SEGMENT_INTERVAL: '20ms' });
    await eventually(async () => assert.deepEqual(await keys(), []));
    assert.deepEqual(await backend.database.query('select from backup_segment_removals'), []);
  });

  it('are asked for in vain with a wrong secret, and what is signed otherwise is not taken for lost', async () => {
    const backupId = await moved();
    const wrong = { ...settings, AWS_SECRET_ACCESS_KEY: 'wrong' };
    await using replica = await startReplica(backend.database.url, wrong);
    await refused(replica.logs.listLogs({ backupId }), { code: 'UNAVAILABLE', reason: 'SEGMENTS_UNAVAILABLE' });
    const nowhere = { ...settings, SEGMENT_STORE: `s3://no-such-bucket?endpoint=${s3.endpoint}` };
    await using other = await startReplica(backend.database.url, nowhere);
    await refused(other.logs.listLogs({ backupId }), { code: 'UNAVAILABLE', reason: 'SEGMENTS_UNAVAILABLE' });
  });

  it('are lost when the object is, and away when the server is', async () => {
    const backupId = await moved();
    await s3.stop();
    await refused(backend.logs.listLogs({ backupId }), { code: 'UNAVAILABLE', reason: 'SEGMENTS_UNAVAILABLE' });
    await s3.start();
    assert.equal((await backend.logs.listLogs({ backupId })).entries.length, 100);
    const client = new AwsClient({
      accessKeyId: 'S3RVER',
      secretAccessKey: 'S3RVER',
      service: 's3',
      region: 'eu-central-1',
    });
    const [row] = await backend.database.query(
      'select key from backup_log_segments where backupid = $1 order by lastid',
      [backupId],
    );
    await client.fetch(`${s3.endpoint}/logs/old ones/2026/${row!['key']}`, { method: 'DELETE' });
    await refused(backend.logs.listLogs({ backupId }), { code: 'DATA_LOSS', reason: 'SEGMENT_LOST' });
  });
});
