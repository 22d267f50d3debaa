import { type ServiceError, status } from '@grpc/grpc-js';
import { TailEnd_Reason, type TailLogsRequest } from '../../gen/backup/v1/log_pb.ts';
import type { Ledger, Reader } from './ledger.ts';
import { BackOff, Complaint, type Replica } from './replica.ts';
import { numberOf } from './write.ts';

/** Enters what a replica delivers of a log until `signal` is aborted; goes on with the last token when the stream ends or breaks. */
export async function follow(
  { address, logs }: Replica,
  { backupId, afterId, ledger, reader, run, tell }: Following,
  signal: AbortSignal,
): Promise<void> {
  const backOff = new BackOff();
  const complaint = new Complaint(`the tail through ${address}`, tell);
  let start: TailLogsRequest['start'] = { case: 'afterId', value: afterId };
  while (!signal.aborted) {
    try {
      for await (const { event } of logs.tailLogs({ backupIds: [backupId], start, follow: true }, { signal })) {
        const now = performance.now();
        if (event.case === 'started') {
          reader.openSince = now;
          backOff.reset();
          complaint.worked();
        }
        for (const { id, message } of event.case === 'entries' ? event.value.entries : []) {
          const number = numberOf(run, message);
          if (number !== undefined) ledger.delivered(reader, number, id, now);
        }
        if (event.value && 'resumeToken' in event.value && event.value.resumeToken)
          start = { case: 'resumeToken', value: event.value.resumeToken };
        // No fault of the service: the next stream gets the next token.
        if (event.case === 'end' && event.value.reason === TailEnd_Reason.TOKEN_EXPIRED) break;
      }
      reader.openSince = undefined;
    } catch (error) {
      if (!signal.aborted) complaint.failed(error);
      // Who refuses to go on is there: what it does not deliver is missing.
      reader.openSince = isAway(error) ? undefined : (reader.openSince ?? performance.now());
    }
    await backOff.pause(signal);
  }
}

function isAway(error: unknown): boolean {
  return [status.UNAVAILABLE, status.CANCELLED, status.RESOURCE_EXHAUSTED].includes((error as ServiceError).code);
}

export type Following = {
  backupId: string;
  afterId: bigint;
  ledger: Ledger;
  reader: Reader;
  /** What marks the entries of this run. */
  run: string;
  tell(line: string): void;
};
