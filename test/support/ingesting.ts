import { randomUUID } from 'node:crypto';
import { type ServiceError, status } from '@grpc/grpc-js';
import { LogLevel } from '../../src/gen/backup/v1/entry_pb.ts';
import type { IngestLogsRequest, IngestLogsResponse } from '../../src/gen/backup/v1/log_pb.ts';
import type { Replica } from './backend.ts';

type Request = { request: Exclude<IngestLogsRequest['request'], { case: undefined }> };

export type Ingesting = { backupId: string; writerId?: string; leaseToken?: string };

type Event = IngestLogsResponse['event'];

export function start({ backupId, writerId = randomUUID(), leaseToken = '' }: Ingesting): Request {
  return { request: { case: 'start', value: { backupId, writerId, leaseToken } } } as Request;
}

export function batch(number: number | bigint, messages: string[], level: LogLevel = LogLevel.INFO): Request {
  const entries = messages.map(message => ({ level, message }));
  return { request: { case: 'batch', value: { number: BigInt(number), entries } } } as Request;
}

/** Sends these requests, ends its side, and returns what was told before the end; with `fault` when that was an error. */
export async function ingest(replica: Pick<Replica, 'logs'>, requests: Iterable<Request> | AsyncIterable<Request>) {
  const told: Event[] = [];
  try {
    for await (const { event } of replica.logs.ingestLogs(requests)) told.push(event);
  } catch (fault) {
    return { told, fault: fault as ServiceError };
  }
  return { told, fault: undefined };
}

/** Number of the last batch that was acknowledged, or was kept before the stream. */
export function kept(told: Event[]): bigint {
  return told.reduce((last, { case: name, value }) => (name && name !== 'end' ? value.lastNumber : last), 0n);
}

/**
 * A writer that sends its batches whatever breaks: each time it opens a new stream, on the replica that `next` gives, and goes on behind what was
 * kept. After so many acknowledgements it breaks off by itself. Fails if less is known as kept than was acknowledged.
 */
export async function ingestAll(
  next: () => Pick<Replica, 'logs'>,
  writer: Ingesting,
  batches: string[][],
  patience = Number.POSITIVE_INFINITY,
  passes = isBroken,
): Promise<{ streams: number }> {
  const who = { writerId: randomUUID(), ...writer };
  let acknowledged = 0n;
  for (let streams = 1; ; streams++) {
    const started = Promise.withResolvers<bigint>();
    started.promise.catch(() => {});
    const requests = async function* () {
      yield start(who);
      for (let i = Number(await started.promise); i < batches.length; i++) yield batch(i + 1, batches[i]!);
    };
    let answers = 0;
    try {
      for await (const { event } of next().logs.ingestLogs(requests())) {
        if (answers++ > patience) break;
        if (event.case === 'end' || !event.case) continue;
        const { lastNumber } = event.value;
        if (lastNumber < acknowledged) throw new Error(`${acknowledged} was acknowledged, and ${lastNumber} is kept`);
        acknowledged = lastNumber;
        if (event.case === 'started') started.resolve(lastNumber);
      }
      if (acknowledged === BigInt(batches.length)) return { streams };
    } catch (error) {
      if (!passes(error as ServiceError)) throw error;
      if (streams > 1000) throw error;
    } finally {
      started.reject(new Error('the stream is over'));
    }
    await new Promise(resolve => setTimeout(resolve, 20));
  }
}

function isBroken({ code }: ServiceError): boolean {
  return code === status.UNAVAILABLE || code === status.CANCELLED;
}
