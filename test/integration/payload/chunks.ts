import { strict as assert } from 'node:assert';
import { createHash } from 'node:crypto';
import type { MessageInitShape } from '@bufbuild/protobuf';
import type {
  UploadFinishSchema,
  UploadPayloadRequestSchema,
  UploadStartSchema,
} from '../../../src/gen/backup/v1/controller_pb.ts';
import type { Replica } from '../../support/backend.ts';
import type { Database } from '../../support/database.ts';

export type Part = MessageInitShape<typeof UploadPayloadRequestSchema>;

export const start = (value: MessageInitShape<typeof UploadStartSchema>): Part => ({ part: { case: 'start', value } });
export const chunk = (value: Uint8Array): Part => ({ part: { case: 'chunk', value } });
export const finish = (value: MessageInitShape<typeof UploadFinishSchema>): Part => ({
  part: { case: 'finish', value },
});

export function md5(bytes: Uint8Array): string {
  return createHash('md5').update(bytes).digest('hex');
}

/** An upload of these bytes in chunks of a size. */
export function parts(
  begin: MessageInitShape<typeof UploadStartSchema>,
  bytes: Uint8Array,
  chunkSize = 1024 * 1024,
): Part[] {
  const chunks: Part[] = [];
  for (let at = 0; at < bytes.length; at += chunkSize) chunks.push(chunk(bytes.subarray(at, at + chunkSize)));
  return [start(begin), ...chunks, finish({ checksum: md5(bytes) })];
}

/** The bytes that a download delivers, when what it says of them is right. */
export async function downloaded({ controllers }: Pick<Replica, 'controllers'>, backupId: string): Promise<Buffer> {
  const told: string[] = [];
  const chunks: Uint8Array[] = [];
  let size: bigint | undefined;
  let checksum = '';
  for await (const { part } of controllers.downloadPayload({ backupId })) {
    if (told.at(-1) !== part.case) told.push(part.case!);
    if (part.case === 'start') size = part.value.size;
    if (part.case === 'chunk') {
      assert.ok(part.value.length > 0 && part.value.length <= 1024 * 1024);
      chunks.push(part.value);
    }
    if (part.case === 'finish') checksum = part.value.checksum;
  }
  const bytes = Buffer.concat(chunks);
  assert.deepEqual(told, bytes.length > 0 ? ['start', 'chunk', 'finish'] : ['start', 'finish']);
  assert.equal(size, BigInt(bytes.length));
  assert.equal(checksum, md5(bytes));
  return bytes;
}

/** What the tables hold of a controller's payload. */
export async function stored(database: Database, backupId: string) {
  const [row] = await database.query(
    `select c.controller, c.checksum, c.revision, p.size, p.md5, p.uploadid
     from backup_controllers c left join backup_payloads p on p.backupid = c.backupid where c.backupid = $1`,
    [backupId],
  );
  const [counted] = await database.query(
    `select count(*) filter (where uploadid is not distinct from $2)::int as chunks,
            count(*) filter (where uploadid is distinct from $2)::int as others from backup_payload_chunks where backupid = $1`,
    [backupId, row?.['uploadid'] ?? null],
  );
  const { uploadid: _, ...found } = { ...row, ...counted };
  return found as {
    controller: string;
    checksum: string;
    revision: number;
    size: string | null;
    md5: string | null;
    chunks: number;
    others: number;
  };
}

/** A worker's lease, by SQL. */
export async function lease(database: Database, backupId: string, token: string): Promise<void> {
  await database.query(
    `update backup_controllers set status = 800, leasetoken = $2, leaseworker = 'somebody', leasems = 3600000,
       leaseexpires = floor(extract(epoch from now()) * 1000)::bigint + 3600000 where backupid = $1`,
    [backupId, token],
  );
}
