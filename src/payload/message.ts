import type { MessageInitShape } from '@bufbuild/protobuf';
import { invalidFields, type StatusError } from '../errors.ts';
import {
  DownloadPayloadResponseSchema,
  type UploadFinish,
  type UploadPayloadRequest,
  type UploadStart,
} from '../gen/backup/v1/controller_pb.ts';
import { Frame } from '../grpc/frame.ts';
import { HEADROOM } from './chunk.ts';
import type { Part } from './download.ts';

/** Reads the first part of an upload. */
export async function readStart(parts: AsyncIterator<UploadPayloadRequest>): Promise<UploadStart> {
  const part = await next(parts);
  if (part?.case !== 'start') throw outOfOrder(part, 'start');
  return part.value;
}

/** Reads all others: hands the chunks on, one at a time, and returns the last part. */
export async function readRest(
  parts: AsyncIterator<UploadPayloadRequest>,
  take: (chunk: Uint8Array) => Promise<void>,
): Promise<UploadFinish> {
  let part = await next(parts);
  for (; part?.case === 'chunk'; part = await next(parts)) await take(part.value);
  if (part?.case !== 'finish') throw outOfOrder(part, 'a chunk or finish');
  const more = await next(parts);
  if (more) throw outOfOrder(more, 'nothing');
  return part.value;
}

/** A part of a download; a chunk in the memory where it is, to be sent before that holds the next one. */
export function toPart(part: Part): MessageInitShape<typeof DownloadPayloadResponseSchema> | Frame {
  switch (part.kind) {
    case 'start':
      return { part: { case: 'start', value: { size: BigInt(part.size) } } };
    case 'chunk':
      return Frame.around(
        DownloadPayloadResponseSchema.field.chunk.number,
        part.chunk.memory,
        HEADROOM,
        part.chunk.bytes.length,
      );
    case 'finish':
      return { part: { case: 'finish', value: { checksum: part.md5 } } };
  }
}

async function next(parts: AsyncIterator<UploadPayloadRequest>): Promise<UploadPayloadRequest['part'] | undefined> {
  const { done, value } = await parts.next();
  return done ? undefined : value.part;
}

function outOfOrder(part: UploadPayloadRequest['part'] | undefined, expected: string): StatusError {
  return invalidFields({
    field: 'part',
    description: `${part?.case ?? 'the end'} came where ${expected} was expected`,
  });
}
