import { toBinary } from '@bufbuild/protobuf';
import type { Pool } from 'pg';
import { ringChanges } from '../controller/bell.ts';
import { toMessage } from '../controller/message.ts';
import type { Doorbell } from '../db/doorbell.ts';
import { type Sql, sqlOn, transaction } from '../db/sql.ts';
import {
  ControllerService,
  UploadFinishSchema,
  type UploadStart,
  UploadStartSchema,
} from '../gen/backup/v1/controller_pb.ts';
import { endedBy, type Handlers } from '../grpc/bind.ts';
import { isAnswered, onceIn } from '../request/once.ts';
import { checksumMismatch } from './column.ts';
import { download } from './download.ts';
import { readRest, readStart, toPart } from './message.ts';
import { refuseUpload } from './receiver.ts';
import { Upload } from './upload.ts';

type Needs = { pool: Pool; doorbell: Doorbell; maxPayloadBytes: number };

const { method } = ControllerService;

export function payloadService({
  pool,
  doorbell,
  maxPayloadBytes,
}: Needs): Pick<Handlers<typeof ControllerService>, 'uploadPayload' | 'downloadPayload'> {
  return {
    async uploadPayload(requests) {
      const parts = requests[Symbol.asyncIterator]();
      const start = await readStart(parts);
      await refuseEarly(sqlOn(pool), start);
      const { backupId, requestId } = start;
      await using upload = new Upload(pool, backupId, maxPayloadBytes);
      const finish = await readRest(parts, chunk => upload.take(chunk));
      const { size, md5 } = await upload.end();
      if (md5 !== finish.checksum) throw checksumMismatch(finish.checksum, md5);
      const content = Buffer.concat([toBinary(UploadStartSchema, start), toBinary(UploadFinishSchema, finish)]);
      const answer = await transaction(pool, sql =>
        onceIn(sql, method.uploadPayload, backupId, { requestId, content }, async () => {
          await refuseUpload(sql, start, { locked: true });
          return { controller: toMessage(await upload.keep(sql, md5)), size };
        }),
      );
      ringChanges(doorbell, [backupId]);
      return answer;
    },

    async *downloadPayload({ backupId }, { wrapUp }) {
      for await (const part of download(pool, backupId)) {
        if (wrapUp.aborted) throw endedBy(wrapUp.reason);
        yield toPart(part);
      }
    },
  };
}

/** An upload that is sent again is not refused for what it did itself the first time. */
async function refuseEarly(sql: Sql, start: UploadStart): Promise<void> {
  try {
    await refuseUpload(sql, start, { locked: false });
  } catch (refusal) {
    if (!start.requestId || !(await isAnswered(sql, start.backupId, start.requestId))) throw refusal;
  }
}
