import { strict as assert } from 'node:assert';
import { setImmediate as turn } from 'node:timers/promises';
import { connect, type Interruption, LogLevel, RpcError } from '../../../src/client/main.ts';
import { startBackend, startReplica } from '../../support/backend.ts';
import { Cable } from '../../support/cable.ts';
import { createDatabase } from '../../support/database.ts';
import { eventually } from '../../support/eventually.ts';
import { ready, repository, run } from '../../support/process.ts';
import { newBackupId } from '../../support/writing.ts';

describe('ingest() of the client library', () => {
  it('loses and doubles nothing when connections are cut, freeze, and a replica is killed', async () => {
    await using database = await createDatabase();
    await using victim = run('node', [`${repository}/src/main.ts`], {
      DATABASE_URL: database.url,
      LISTEN: '127.0.0.1:0',
      SERVICE_LOG: 'error',
    });
    const victimAddress = await ready(victim);
    await using lasting = await startReplica(database.url);
    await using cable = await Cable.start(new URL(`http://${lasting.address}`));
    using service = connect({ address: `ipv4:${victimAddress},127.0.0.1:${cable.port}`, keepaliveMs: 200 });
    const why: string[] = [];
    const backupId = newBackupId();
    const onReconnect = ({ reason }: Interruption) => why.push(reason);
    const writer = service.ingest({ backupId, onReconnect });
    const faults = new Map<number, () => unknown>([
      [2000, () => victim.child.kill('SIGKILL')],
      [4000, () => cable.cut()],
      [6000, () => cable.cut()],
      [8000, () => cable.freeze()],
    ]);
    for (let i = 0; i < 10_000; i++) {
      await writer.write(LogLevel.INFO, `line ${i}`);
      if (i % 100 === 0) await turn();
      // In the middle: something is on its way.
      if (faults.has(i)) {
        await eventually(() => assert.ok(writer.acknowledged > i - 1500));
        faults.get(i)!();
      }
    }
    await writer.close();
    assert.equal(writer.acknowledged, 10_000);
    assert.ok(why.length >= 3, why.join());
    const rows = await database.query('select message from backup_logs where backupid = $1 order by id', [backupId]);
    assert.deepEqual(
      rows.map(({ message }) => message),
      Array.from({ length: 10_000 }, (_, i) => `line ${i}`),
    );
  });

  it('makes its caller wait when more waits for the service than it may keep', async () => {
    await using backend = await startBackend();
    await using cable = await Cable.start(new URL(`http://${backend.address}`));
    using service = connect(`127.0.0.1:${cable.port}`);
    const writer = service.ingest({ backupId: newBackupId(), maxBytes: 100_000 });
    await writer.write(LogLevel.INFO, 'the first line');
    await writer.flush();
    cable.latencyMs = 300;
    const line = 'x'.repeat(1000);
    let [written, waited] = [0, false];
    while (!waited && written < 1000) {
      const writing = writer.write(LogLevel.INFO, line);
      written++;
      waited = await Promise.race([writing.then(() => false), turn(true)]);
      await writing;
    }
    assert.ok(waited && written >= 80 && written <= 100, `${written} were taken`);
    await writer.close();
    assert.equal(writer.acknowledged, written + 1);
  });

  it('is done with what was written when it is flushed, and opens no stream without need', async () => {
    await using backend = await startBackend();
    using service = connect(backend.address);
    const backupId = newBackupId();
    {
      await using writer = service.ingest({ backupId });
      await writer.flush();
      await writer.write(LogLevel.WARNING, 'NUL \0, half of one \ud83d', new Date('2026-01-02T03:04:05Z'));
      await writer.flush();
      assert.equal(writer.acknowledged, 1);
      await writer.write(LogLevel.INFO, 'ü'.repeat(1024 * 1024));
    }
    const { entries } = await backend.logs.listLogs({ backupId });
    assert.deepEqual([entries[0]!.message, entries[0]!.level], ['NUL \u2400, half of one \ufffd', LogLevel.WARNING]);
    assert.equal(Number(entries[0]!.createTime!.seconds) * 1000, Date.parse('2026-01-02T03:04:05Z'));
    assert.ok(entries[1]!.message.endsWith('ü (cut)') && Buffer.byteLength(entries[1]!.message) <= 1024 * 1024);
  });

  it('fails for good when the lease is lost, and says so to whoever waits and to later writes', async () => {
    await using backend = await startBackend();
    using service = connect(backend.address);
    const writer = service.ingest({ backupId: newBackupId(), leaseToken: '0e4bf9a2-6b9c-4b3e-9d5e-3f2d1c0b9a88' });
    await writer.write(LogLevel.INFO, 'not mine');
    const lost = (error: RpcError) => error instanceof RpcError && error.reason === 'LEASE_LOST';
    await assert.rejects(writer.flush(), lost);
    await assert.rejects(writer.write(LogLevel.INFO, 'nor this'), lost);
    await assert.rejects(writer.close(), lost);
  });

  it('begins anew when its log was deleted', async () => {
    await using backend = await startBackend();
    using service = connect(backend.address);
    const backupId = newBackupId();
    await using writer = service.ingest({ backupId });
    await writer.write(LogLevel.INFO, 'before');
    await writer.flush();
    await backend.logs.purgeLogs({ backupId });
    await backend.database.query('delete from backup_log_writers');
    await writer.write(LogLevel.INFO, 'after');
    await writer.flush();
    const { entries } = await backend.logs.listLogs({ backupId });
    assert.deepEqual(
      entries.map(({ message }) => message),
      ['after'],
    );
  });

  it('gives up at an abort, and when nobody has been there for too long', async () => {
    const stop = new AbortController();
    using service = connect('127.0.0.1:1');
    const aborted = service.ingest({ backupId: newBackupId(), signal: stop.signal });
    await aborted.write(LogLevel.INFO, 'into the void');
    stop.abort(new Error('enough'));
    await assert.rejects(aborted.flush(), { message: 'enough' });
    const patient = service.ingest({ backupId: newBackupId(), patienceMs: 500 });
    await patient.write(LogLevel.INFO, 'into the void');
    await assert.rejects(patient.flush(), (error: RpcError) => error.passing);
  });
});
