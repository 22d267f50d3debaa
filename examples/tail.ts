import { setTimeout as delay } from 'node:timers/promises';
import { timestampDate } from '@bufbuild/protobuf/wkt';
import { Status } from '../src/gen/backup/v1/controller_pb.ts';
import { LogLevel } from '../src/gen/backup/v1/entry_pb.ts';
import {
  type LogEntry,
  TailEnd_Reason,
  type TailLogsRequest,
  type TailLogsResponse,
} from '../src/gen/backup/v1/log_pb.ts';
import { connect, mayPass, messageOf } from './client.ts';

export type TailEvent = TailLogsResponse['event'];

/**
 * Every entry of some logs, from the first to the last, as soon as it is durable; ends when all of the runs have finished. It continues
 * where it was when the stream breaks or ends early, whichever replica it meets then. Ids have no gaps, so a lost or doubled entry is an
 * error here.
 */
export async function* tailLogs(address: string, backupIds: string[], stop?: AbortSignal): AsyncGenerator<TailEvent> {
  using service = connect(address);
  const options = stop ? { signal: stop } : {};
  const next = new Map(backupIds.map(id => [id, 1n]));
  let wanted = backupIds;
  let start: TailLogsRequest['start'] = { case: undefined };
  let heard = Date.now();
  while (wanted.length > 0) {
    let reason: TailEnd_Reason = TailEnd_Reason.UNSPECIFIED;
    try {
      const stream = service.logs.tailLogs({ backupIds: wanted, start, untilFinished: true }, options);
      for await (const { event } of stream) {
        heard = Date.now();
        if (event.case === 'entries') checkIds(next, event.value.backupId, event.value.entries);
        if (event.case === 'truncated') next.set(event.value.backupId, event.value.toId + 1n);
        yield event;
        // Only now, when the event was dealt with. Who must not lose an entry in a crash of his own keeps the token with what he made of it.
        if (event.value && 'resumeToken' in event.value && event.value.resumeToken)
          start = { case: 'resumeToken', value: event.value.resumeToken };
        if (event.case === 'end') {
          reason = event.value.reason;
          const { backupId } = event.value;
          if (reason === TailEnd_Reason.DELETED) wanted = wanted.filter(id => id !== backupId);
        }
      }
    } catch (error) {
      stop?.throwIfAborted();
      const mayGoOn = mayPass(error) || reason === TailEnd_Reason.TOKEN_EXPIRED;
      if (!mayGoOn || Date.now() - heard > 60_000) throw error;
    }
    if (reason === TailEnd_Reason.SEALED) return;
    // MAX_AGE, SLOW_CONSUMER, DRAINING, TOKEN_EXPIRED, or a connection that broke: again, with the token.
    if (reason !== TailEnd_Reason.DELETED) await delay(100);
  }
}

function checkIds(next: Map<string, bigint>, backupId: string, entries: LogEntry[]): void {
  for (const { id } of entries) {
    const expected = next.get(backupId);
    if (id !== expected) throw new Error(`the log of ${backupId} goes on with ${id}, not with ${expected}`);
    next.set(backupId, id + 1n);
  }
}

/** An entry on one line, safe to print whatever its message holds. */
export function lineOf({ id, level, message, createTime }: LogEntry): string {
  const time = createTime ? timestampDate(createTime).toISOString() : '';
  return `${id} ${time} ${nameOf(LogLevel, level)} ${message.replace(/[\p{Cc}\u2028\u2029]/gu, escaped)}`;
}

function escaped(character: string): string {
  return character === '\n' ? '\\n' : `\\u${character.charCodeAt(0).toString(16).padStart(4, '0')}`;
}

/** The name of an enum's number; the number itself when it is newer than this client. */
export function nameOf(numbers: Record<string, number>, number: number): string {
  return Object.keys(numbers).find(name => numbers[name] === number) ?? String(number);
}

function linesOf(event: TailEvent): string[] {
  switch (event.case) {
    case 'entries':
      return event.value.entries.map(entry => `${event.value.backupId} ${lineOf(entry)}`);
    case 'state':
      return [
        `${event.value.backupId} ${nameOf(Status, event.value.status)} ${Math.round(event.value.progress * 100)} %`,
      ];
    case 'truncated':
      return [`${event.value.backupId} ${event.value.fromId} to ${event.value.toId} are no longer kept`];
    case 'end':
      return [`the stream ends: ${nameOf(TailEnd_Reason, event.value.reason)}`];
    default:
      return [];
  }
}

if (import.meta.main) {
  const [address, ...backupIds] = process.argv.slice(2);
  let received = 0;
  try {
    if (!address || backupIds.length === 0) throw new Error('usage: node examples/tail.ts <address> <backup id>...');
    for await (const event of tailLogs(address, backupIds)) {
      if (event.case === 'entries') received += event.value.entries.length;
      for (const line of linesOf(event)) console.log(line);
    }
    console.log(`log entries received by the tail: ${received}`);
  } catch (error) {
    console.error(messageOf(error));
    process.exitCode = 1;
  }
}
