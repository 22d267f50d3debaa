import { createReadStream } from 'node:fs';
import { stat } from 'node:fs/promises';
import type { MessageInitShape } from '@bufbuild/protobuf';
import {
  ControllerSchema,
  ControllerService,
  type UploadPayloadRequestSchema,
} from '../../gen/backup/v1/controller_pb.ts';
import { Failure } from '../failure.ts';
import type { Session } from '../session.ts';
import { Transfer } from './transfer.ts';

/** From a file or from standard input. A payload that is there stays whole until this one is complete. */
export async function uploadPayload(session: Session, _options: object, backupId: string, path = '-'): Promise<void> {
  const { input, size } = await openInput(path);
  using transfer = new Transfer(session);
  transfer.begin(size);
  const requests = async function* (): AsyncGenerator<MessageInitShape<typeof UploadPayloadRequestSchema>> {
    yield { part: { case: 'start', value: { backupId } } };
    for await (const chunk of input) {
      transfer.add(chunk as Buffer);
      yield { part: { case: 'chunk', value: chunk as Buffer } };
    }
    // Who has enough has not sent all of it.
    session.signal.throwIfAborted();
    yield { part: { case: 'finish', value: { checksum: transfer.checksum() } } };
  };
  const { controller } = await session.client(ControllerService).uploadPayload(requests(), { signal: session.signal });
  transfer.tell('uploaded');
  if (session.screen.format !== 'table') await session.screen.show(ControllerSchema, controller!, () => '');
}

async function openInput(path: string): Promise<{ input: AsyncIterable<unknown>; size: number | undefined }> {
  if (path === '-') return { input: process.stdin, size: undefined };
  try {
    const { size } = await stat(path);
    return { input: createReadStream(path, { highWaterMark: CHUNK }), size };
  } catch (error) {
    throw new Failure('WRONG_USE', `${path} cannot be read: ${(error as Error).message}`);
  }
}

/** Bytes. */
const CHUNK = 512 * 1024;
