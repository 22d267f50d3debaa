import type { MessageInitShape } from '@bufbuild/protobuf';
import { invalidFields } from '../errors.ts';
import {
  IngestEnd_Reason,
  type IngestLogsRequest,
  IngestLogsRequestSchema,
  type IngestLogsResponseSchema,
} from '../gen/backup/v1/log_pb.ts';
import { shortcut } from '../grpc/validate.ts';
import { arePlain, type Keeping, keptEntries } from '../log/message.ts';
import type { Batch, IngestEvent } from './ingest.ts';
import type { Writer } from './writer.ts';

export const ingestShortcut = shortcut(
  IngestLogsRequestSchema,
  ({ request }) => request.case === 'batch' && request.value.number >= 1n && arePlain(request.value.entries),
);

export function toWriter(first: IngestLogsRequest | undefined): Writer {
  if (first?.request.case !== 'start')
    throw invalidFields({ field: 'start', description: 'must be the first request' });
  const { backupId, writerId, leaseToken } = first.request.value;
  return { backupId, writerId, leaseToken };
}

/** The batches of a stream, after its start. */
export async function* toBatches(requests: AsyncIterable<IngestLogsRequest>, keeping: Keeping): AsyncGenerator<Batch> {
  for await (const { request } of requests) {
    if (request.case !== 'batch') throw invalidFields({ field: 'start', description: 'was sent already' });
    const { number, entries } = request.value;
    const kept = keptEntries(entries, keeping, 'batch.entries');
    yield { number, entries: kept, dropped: entries.length - kept.length };
  }
}

export function toIngestEvent(
  event: IngestEvent,
): NonNullable<MessageInitShape<typeof IngestLogsResponseSchema>['event']> {
  switch (event.kind) {
    case 'started':
      return { case: 'started', value: { lastNumber: event.lastNumber } };
    case 'acknowledged': {
      const { lastNumber, lastId, dropped } = event;
      return { case: 'acknowledged', value: { lastNumber, lastId, dropped } };
    }
    case 'end':
      return { case: 'end', value: { reason: IngestEnd_Reason[event.reason] } };
  }
}
