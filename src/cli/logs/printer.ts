import { toJson } from '@bufbuild/protobuf';
import type { LogEntry } from '../../gen/backup/v1/log_pb.ts';
import { LogEntrySchema } from '../../gen/backup/v1/log_pb.ts';
import type { Session } from '../session.ts';
import type { Times } from '../settings.ts';
import { relative, two } from '../terminal/times.ts';
import { LineWriter } from './line.ts';

export type Printing = { ids?: boolean; time: boolean; named: boolean };

/** Prints entries of one backup, all at once: as lines for people, or an object for each. */
export type Printer = (backupId: string, entries: LogEntry[], resumeToken?: string) => Promise<void>;

export async function printerOf(
  { screen, settings }: Session,
  { ids = false, time, named }: Printing,
): Promise<Printer> {
  if (screen.format === 'table') {
    const clock = time ? (at: Date) => clockText(at, settings.times) : undefined;
    const lines = new LineWriter({ paint: screen.paint, time: clock, ids, named });
    return (backupId, entries) => screen.write(entries.map(entry => lines.textOf(backupId, entry)).join(''));
  }
  const stringify = screen.format === 'yaml' ? (await import('yaml')).stringify : undefined;
  const text = (object: object) => (stringify ? `---\n${stringify(object)}` : `${JSON.stringify(object)}\n`);
  return (backupId, entries, resumeToken) => {
    const objects = entries.map(entry => ({ backupId, ...(toJson(LogEntrySchema, entry) as object) }));
    // It continues behind all of them.
    if (resumeToken) Object.assign(objects.at(-1)!, { resumeToken });
    return screen.write(objects.map(text).join(''));
  };
}

/** To the millisecond: much can happen in a second. */
function clockText(time: Date, times: Times): string {
  if (times === 'iso') return time.toISOString();
  if (times === 'relative') return relative(time.getTime() - Date.now()).padStart(11);
  const date = `${time.getFullYear()}-${two(time.getMonth() + 1)}-${two(time.getDate())}`;
  const clock = [time.getHours(), time.getMinutes(), time.getSeconds()].map(two).join(':');
  return `${date} ${clock}.${String(time.getMilliseconds()).padStart(3, '0')}`;
}
