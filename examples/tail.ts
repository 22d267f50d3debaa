import { timestampDate } from '@bufbuild/protobuf/wkt';
import { type Interruption, LogLevel, Status, TailEnd_Reason, type TailEvent } from '../src/client/main.ts';
import type { LogEntry } from '../src/gen/backup/v1/log_pb.ts';
import { connect, messageOf } from './client.ts';

/**
 * Every entry of some logs, from the first to the last, as soon as it is durable; ends when all of the runs have finished. Ids have no gaps, so a lost or
 * doubled entry is an error here.
 */
export async function* tailLogs(
  address: string,
  backupIds: string[],
  signal?: AbortSignal,
  onReconnect?: (why: Interruption) => void,
): AsyncGenerator<TailEvent> {
  using service = connect(address);
  const next = new Map(backupIds.map(id => [id, 1n]));
  const more = { ...(signal && { signal }), ...(onReconnect && { onReconnect }) };
  for await (const event of service.tail({ backupIds, untilFinished: true, ...more })) {
    if (event.case === 'entries') checkIds(next, event.value.backupId, event.value.entries);
    if (event.case === 'truncated') next.set(event.value.backupId, event.value.toId + 1n);
    yield event;
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
    const onReconnect = ({ reason }: Interruption) => console.error(`the stream has ended: ${reason}`);
    for await (const event of tailLogs(address, backupIds, undefined, onReconnect)) {
      if (event.case === 'entries') received += event.value.entries.length;
      for (const line of linesOf(event)) console.log(line);
    }
    console.log(`log entries received by the tail: ${received}`);
  } catch (error) {
    console.error(messageOf(error));
    process.exitCode = 1;
  }
}
