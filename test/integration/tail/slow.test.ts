import { strict as assert } from 'node:assert';
import { fromBinary } from '@bufbuild/protobuf';
import { type Client, type ClientReadableStream, Metadata } from '@grpc/grpc-js';
import { LogService, TailEnd_Reason, TailLogsResponseSchema } from '../../../src/gen/backup/v1/log_pb.ts';
import { methodDefinition } from '../../../src/grpc/definition.ts';
import { connect, startBackend } from '../../support/backend.ts';
import { eventually } from '../../support/eventually.ts';
import { memoryInUse } from '../../support/heap.ts';
import { History } from '../../support/history.ts';
import { stall, tailRequest } from '../../support/stalled.ts';
import { Subscriber } from '../../support/subscriber.ts';
import { append, fill, newBackupId, truthOf, writeAll } from '../../support/writing.ts';

describe('TailLogs with subscribers that do not read', () => {
  it('waits for one that stops for a while, loses nothing, and does not keep the others waiting', async () => {
    await using backend = await startBackend();
    const backupId = newBackupId();
    await fill(backend.database, backupId, 50_000);
    using slow = new StalledReader(backend.address, backupId);
    await slow.first();
    const quick = new Subscriber(backend, { backupIds: [backupId], follow: true });
    const writing = writeAll([backend], backupId, 'live', 50);
    await quick.received(50_050);
    await writing;
    await quick.cancel();
    assert.ok(slow.history.entries.length < 25_000, `${slow.history.entries.length} were taken already`);
    slow.stream.resume();
    await eventually(() => assert.equal(slow.history.entries.length, 50_050));
    slow.history.complete(await truthOf(backend.database, [backupId]));
  });

  it('tells one that was live and fell behind, and when it has caught up again', async () => {
    await using backend = await startBackend();
    const backupId = newBackupId();
    using reader = new StalledReader(backend.address, backupId);
    await eventually(() => {
      reader.stream.resume();
      assert.equal(reader.history.all('caughtUp').length, 1);
    });
    reader.stream.pause();
    // As much as fits into the windows of HTTP/2 and more, so that the service itself has to wait.
    for (let i = 0; i < 20; i++) await append(backend, backupId, Array(1000).fill('x'.repeat(200)));
    reader.stream.resume();
    await eventually(() => {
      assert.equal(reader.history.entries.length, 20_000);
      const [behind, caughtUp] = [reader.history.all('fellBehind'), reader.history.all('caughtUp')];
      // The last lines may have come when it was live again.
      assert.ok(behind.length > 0 && behind.every(({ lag }) => lag > 1000n));
      assert.equal(caughtUp.length, behind.length + 1);
    });
    reader.history.complete(await truthOf(backend.database, [backupId]));
  });

  it('ends one that takes too long, with the reason and a token behind what it had not read', async () => {
    await using backend = await startBackend({ settings: { WRITE_TIMEOUT: '1500ms' } });
    const backupId = newBackupId();
    await fill(backend.database, backupId, 50_000);
    using slow = new StalledReader(backend.address, backupId);
    await slow.first();
    await eventually(() => {
      assert.equal(backend.app.admission.streams, 0);
      assert.equal(backend.app.doorbell.subscribers, 0);
    });
    slow.stream.resume();
    await eventually(() => assert.equal(slow.history.events.at(-1)?.case, 'end'));
    assert.equal(slow.history.all('end')[0]!.reason, TailEnd_Reason.SLOW_CONSUMER);
    const rest = new Subscriber(
      backend,
      { backupIds: [backupId], start: { case: 'resumeToken', value: slow.history.token } },
      slow.history,
    );
    await rest.done;
    slow.history.complete(await truthOf(backend.database, [backupId]));
  });

  it('keeps less than a megabyte for each of 100 that stand still, and serves another one meanwhile', async () => {
    await using backend = await startBackend();
    const backupId = newBackupId();
    await fill(backend.database, backupId, 20_000);
    const before = await memoryInUse();
    const stalled = await Promise.all(Array.from({ length: 100 }, () => stall(backend.address, backupId)));
    const healthy = new Subscriber(backend, { backupIds: [backupId], follow: true });
    await healthy.received(20_000);
    await append(backend, backupId, ['live']);
    await healthy.received(20_001);
    await healthy.cancel();
    healthy.history.entries.length = 0;
    healthy.history.events.length = 0;
    const each = ((await memoryInUse()) - before) / stalled.length / 1024;
    assert.ok(each < 1024, `${Math.round(each)} KiB each`);
    for (const session of stalled) session.destroy();
    await eventually(() => assert.equal(backend.app.admission.streams, 0));
  });
});

/** A client that reads one message and then stands still. Without the first read, grpc-js would read on by itself. */
class StalledReader implements Disposable {
  readonly history = new History();
  readonly stream: ClientReadableStream<Buffer>;
  readonly #channel: Client;

  constructor(address: string, backupId: string) {
    this.#channel = connect(address);
    const { path, requestSerialize, responseDeserialize } = methodDefinition(LogService.method.tailLogs);
    this.stream = this.#channel.makeServerStreamRequest(
      path,
      requestSerialize,
      responseDeserialize,
      tailRequest(backupId),
      new Metadata(),
    );
    this.stream.on('error', () => {});
    this.stream.on('data', (message: Buffer) => {
      if (this.history.events.length === 0) this.stream.pause();
      this.history.record(fromBinary(TailLogsResponseSchema, message));
    });
  }

  async first(): Promise<void> {
    await eventually(() => assert.ok(this.history.events.length > 0));
  }

  [Symbol.dispose](): void {
    this.stream.cancel();
    this.#channel.close();
  }
}
