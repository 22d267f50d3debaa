import { strict as assert } from 'node:assert';
import { once } from 'node:events';
import { type ClientHttp2Session, connect as http2Connect } from 'node:http2';
import { create, fromBinary, toBinary } from '@bufbuild/protobuf';
import { type Client, type ClientReadableStream, Metadata } from '@grpc/grpc-js';
import {
  ControllerService,
  WatchControllersRequestSchema,
  type WatchControllersResponse,
  WatchControllersResponseSchema,
  WatchEnd_Reason,
} from '../../../src/gen/backup/v1/controller_pb.ts';
import { methodDefinition } from '../../../src/grpc/definition.ts';
import { type Backend, connect, startBackend } from '../../support/backend.ts';
import { eventually } from '../../support/eventually.ts';
import { memoryInUse } from '../../support/heap.ts';
import { Picture } from './picture.ts';

const COUNT = 1000;
const ROUNDS = 14;

describe('WatchControllers with readers that do not read', () => {
  it('tells one that stood still the latest states and none of those before, and does not keep others waiting', async () => {
    await using backend = await startBackend({ settings: { TAIL_POLL: '50ms' } });
    await fill(backend);
    using slow = new StalledReader(backend.address);
    await slow.first();
    await using quick = new Picture(backend, {});
    await quick.complete();
    for (let round = 1; round <= ROUNDS; round++) {
      await change(backend, round);
      await quick.until(({ controllers }) => [...controllers.values()].every(c => c.itemId === BigInt(round)));
    }
    await backend.database.query(`delete from backup_controllers where id % 2 = 0`);
    await quick.until(({ controllers }) => controllers.size === COUNT / 2);
    slow.stream.resume();
    await eventually(() => {
      assert.equal(slow.states.size, COUNT / 2);
      assert.ok([...slow.states.values()].every(itemId => itemId === BigInt(ROUNDS)));
    });
    // The peer's own buffers took some thousands before it stood still.
    assert.ok(slow.told < 7 * COUNT, `${slow.told} states were told, of ${(ROUNDS + 1) * COUNT}`);
  });

  it('ends one that takes too long, and says so behind what it had not read', async () => {
    await using backend = await startBackend({ settings: { WRITE_TIMEOUT: '1500ms', TAIL_POLL: '20ms' } });
    await fill(backend);
    using slow = new StalledReader(backend.address);
    await slow.first();
    await eventually(async () => {
      await change(backend, 1 + Math.floor(Math.random() * 1000));
      assert.equal(backend.app.admission.streams, 0);
      assert.deepEqual(backend.app.watches.size, { views: 0, watchers: 0 });
    });
    slow.stream.resume();
    await eventually(() => assert.equal(slow.last?.end?.reason, WatchEnd_Reason.SLOW_CONSUMER));
  });

  it('keeps less than half a megabyte for each of 100 that stand still while everything changes', async () => {
    await using backend = await startBackend({ settings: { TAIL_POLL: '50ms' } });
    await fill(backend);
    await using quick = new Picture(backend, {});
    await quick.complete();
    const before = await memoryInUse();
    const stalled = await Promise.all(Array.from({ length: 100 }, () => stall(backend.address)));
    await eventually(() => assert.equal(backend.app.watches.size.watchers, 101));
    for (let round = 1; round <= ROUNDS; round++) {
      await change(backend, round);
      await quick.until(({ controllers }) => [...controllers.values()].every(c => c.itemId === BigInt(round)));
    }
    quick.messages.length = 0;
    const each = ((await memoryInUse()) - before) / stalled.length / 1024;
    assert.ok(each < 512, `${Math.round(each)} KiB each`);
    for (const session of stalled) session.destroy();
    await eventually(() => assert.equal(backend.app.admission.streams, 1));
  });
});

async function fill(backend: Backend): Promise<void> {
  await backend.database.query(
    `insert into backup_controllers (backupid, type, itemid, format, interactive, purpose, userid, status, execution)
     select md5(i::text), 'course', 0, 'moodle2', 0, 10, 1, 100, 1 from generate_series(1, $1::int) i`,
    [COUNT],
  );
}

/** Every controller at once, without a ring. */
async function change(backend: Backend, round: number): Promise<void> {
  await backend.database.query('update backup_controllers set itemid = $1, revision = revision + 1', [round]);
}

/** WatchControllers of everything. */
const everything = Buffer.from(toBinary(WatchControllersRequestSchema, create(WatchControllersRequestSchema)));

const { path, requestSerialize, responseDeserialize } = methodDefinition(ControllerService.method.watchControllers);

/** A peer that takes nothing at all but what HTTP/2 lets through before the first read: 64 KiB. */
async function stall(address: string): Promise<ClientHttp2Session> {
  const session = http2Connect(`http://${address}`);
  session.on('error', () => {});
  const stream = session.request({
    ':method': 'POST',
    ':path': path,
    'content-type': 'application/grpc',
    te: 'trailers',
  });
  stream.on('error', () => {});
  const prefix = Buffer.alloc(5);
  prefix.writeUInt32BE(everything.length, 1);
  stream.end(Buffer.concat([prefix, everything]));
  await once(stream, 'response');
  return session;
}

/** A client that reads one message and then stands still. Without the first read, grpc-js would read on by itself. */
class StalledReader implements Disposable {
  /** Item ids of what is there, by backup id: they say in which round it was changed. */
  readonly states = new Map<string, bigint>();
  told = 0;
  last: WatchControllersResponse | undefined;
  readonly stream: ClientReadableStream<Buffer>;
  readonly #channel: Client;

  constructor(address: string) {
    this.#channel = connect(address);
    this.stream = this.#channel.makeServerStreamRequest(
      path,
      requestSerialize,
      responseDeserialize,
      everything,
      new Metadata(),
    );
    this.stream.on('error', () => {});
    this.stream.on('data', (bytes: Buffer) => {
      if (!this.last) this.stream.pause();
      this.last = fromBinary(WatchControllersResponseSchema, bytes);
      this.told += this.last.controllers.length;
      for (const { backupId, itemId } of this.last.controllers) this.states.set(backupId, itemId);
      for (const backupId of this.last.removedBackupIds) this.states.delete(backupId);
    });
  }

  async first(): Promise<void> {
    await eventually(() => assert.ok(this.last));
  }

  [Symbol.dispose](): void {
    this.stream.cancel();
    this.#channel.close();
  }
}
