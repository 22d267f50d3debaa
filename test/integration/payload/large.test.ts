import { strict as assert } from 'node:assert';
import { createCipheriv, createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import type { MessageInitShape } from '@bufbuild/protobuf';
import type { UploadPayloadRequestSchema } from '../../../src/gen/backup/v1/controller_pb.ts';
import { clients, connect, type Replica } from '../../support/backend.ts';
import { createDatabase } from '../../support/database.ts';
import { ready, run } from '../../support/process.ts';
import { newBackup } from '../../support/writing.ts';

const MiB = 1024 * 1024;

// Two and a half times what the service may grow by; PAYLOAD_MIB=512 is the largest payload that there may be.
const mebibytes = Number(process.env['PAYLOAD_MIB'] ?? 160);

describe(`A payload of ${mebibytes} MiB`, () => {
  it('goes up and comes down through a service that grows by less than 64 MiB', async () => {
    await using database = await createDatabase();
    await using service = run('node', ['src/main.ts'], {
      DATABASE_URL: database.url,
      LISTEN: '127.0.0.1:0',
      SERVICE_LOG: 'error',
    });
    const channel = connect(await ready(service));
    const { controllers } = clients(channel);
    const pid = service.child.pid!;
    try {
      const backupId = await newBackup({ controllers });
      await roundTrip(controllers, backupId, 16 * MiB, () => {});
      const before = residentBytes(pid);
      let most = 0;
      using _sampling = every(50, () => {
        most = Math.max(most, residentBytes(pid) - before);
      });
      await roundTrip(controllers, backupId, mebibytes * MiB, (direction, ms) => {
        if (process.env['SHOW'])
          console.log(direction, `${Math.round(ms)} ms`, `${Math.round(most / MiB)} MiB over ${before / MiB}`);
        assert.ok(most < 64 * MiB, `${direction}: grew by ${Math.round(most / MiB)} MiB`);
      });
    } finally {
      channel.close();
      service.child.kill('SIGTERM');
      await service.exit();
    }
  });
});

async function roundTrip(
  controllers: Replica['controllers'],
  backupId: string,
  size: number,
  done: (direction: string, ms: number) => void,
): Promise<void> {
  let began = performance.now();
  const up = await controllers.uploadPayload(parts(backupId, size));
  done('up', performance.now() - began);
  assert.equal(up.size, BigInt(size));
  began = performance.now();
  const hash = createHash('md5');
  let received = 0;
  let checksum = '';
  for await (const { part } of controllers.downloadPayload({ backupId })) {
    if (part.case === 'start') assert.equal(part.value.size, BigInt(size));
    if (part.case === 'finish') checksum = part.value.checksum;
    if (part.case !== 'chunk') continue;
    received += part.value.length;
    hash.update(part.value);
  }
  done('down', performance.now() - began);
  assert.equal(received, size);
  assert.deepEqual([hash.digest('hex'), checksum], [up.controller!.checksum, up.controller!.checksum]);
}

/** Bytes that are made on the way and look like chance. */
function* parts(backupId: string, size: number): Generator<MessageInitShape<typeof UploadPayloadRequestSchema>> {
  yield { part: { case: 'start', value: { backupId } } };
  const noise = createCipheriv('aes-128-ctr', Buffer.alloc(16, 1), Buffer.alloc(16, 2));
  const nothing = Buffer.alloc(MiB);
  const hash = createHash('md5');
  for (let sent = 0; sent < size; sent += MiB) {
    const value = noise.update(nothing);
    hash.update(value);
    yield { part: { case: 'chunk', value } };
  }
  yield { part: { case: 'finish', value: { checksum: hash.digest('hex') } } };
}

function residentBytes(pid: number): number {
  return Number(readFileSync(`/proc/${pid}/statm`, 'utf8').split(' ')[1]) * 4096;
}

function every(ms: number, work: () => void): Disposable {
  const timer = setInterval(work, ms);
  return { [Symbol.dispose]: () => clearInterval(timer) };
}
