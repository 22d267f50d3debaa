import { timestampFromDate } from '@bufbuild/protobuf/wkt';
import type { LogLevel } from '../../gen/backup/v1/entry_pb.ts';
import { LogOrder, LogService } from '../../gen/backup/v1/log_pb.ts';
import { Failure } from '../failure.ts';
import { controllerFilterOf, type Filter } from '../filter.ts';
import { Notes } from '../notes.ts';
import type { Session } from '../session.ts';
import { printerOf } from './printer.ts';

type Options = Filter & {
  level?: LogLevel;
  since?: Date;
  until?: Date;
  text?: string;
  newestFirst?: true;
  limit: number;
  ids?: true;
  time: boolean;
};

/** Prints page after page, up to the limit. */
export async function listLogs(session: Session, options: Options, backupId: string | undefined): Promise<void> {
  const { level, text, limit } = options;
  const logs = session.client(LogService);
  const request = {
    ...logsOf(backupId, options),
    ...(level !== undefined && { maxLevel: level }),
    ...(text !== undefined && { text }),
    order: options.newestFirst ? LogOrder.NEWEST_FIRST : LogOrder.OLDEST_FIRST,
  };
  const named = backupId === undefined;
  const print = await printerOf(session, { named, time: options.time, ...(options.ids && { ids: true }) });
  let pageToken = '';
  let left = limit;
  do {
    const page = await logs.listLogs({ ...request, pageToken, pageSize: Math.min(left, PAGE) }, session.call());
    for (const run of runsOf(page.entries)) await print(backupId ?? run[0]!.backupId, run);
    left -= page.entries.length;
    pageToken = page.nextPageToken;
  } while (pageToken && left > 0);
  if (pageToken) new Notes(session).say(`there are more than ${limit}: --limit says how many to list, or all`);
}

/** One log, or those of a filter, within a time. */
export function logsOf(backupId: string | undefined, options: Filter & { since?: Date; until?: Date }) {
  const filter = controllerFilterOf(options);
  if (backupId && filter) throw new Failure('WRONG_USE', 'a backup that is named excludes a filter');
  if (!backupId && !filter)
    throw new Failure('WRONG_USE', 'which logs?', 'name a backup, or give a filter such as --course 42');
  const { since, until } = options;
  const window = { ...(since && { start: timestampFromDate(since) }), ...(until && { end: timestampFromDate(until) }) };
  return { ...(backupId ? { backupId } : { filter: filter! }), ...((since || until) && { window }) };
}

/** Entries of the same backup that stand together. */
function runsOf<E extends { backupId: string }>(entries: E[]): E[][] {
  const runs: E[][] = [];
  let before: string | undefined;
  for (const entry of entries) {
    if (entry.backupId === before) runs.at(-1)!.push(entry);
    else runs.push([entry]);
    before = entry.backupId;
  }
  return runs;
}

const PAGE = 1000;
