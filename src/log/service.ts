import { toBinary } from '@bufbuild/protobuf';
import { sqlOn } from '../db/sql.ts';
import { leaseLost } from '../errors.ts';
import type { ControllerFilter } from '../gen/backup/v1/controller_pb.ts';
import { LogLevel } from '../gen/backup/v1/entry_pb.ts';
import {
  AppendLogsRequestSchema,
  ListLogsRequestSchema,
  ListLogsResponseSchema,
  LogOrder,
  type LogService,
} from '../gen/backup/v1/log_pb.ts';
import type { Handlers } from '../grpc/bind.ts';
import { paging } from '../paging.ts';
import type { Logs } from '../segment/archive.ts';
import { ascending, fromNanos } from '../timestamps.ts';
import type { Tokens } from '../tokens.ts';
import { digestOf, isHeld, type Tell } from './append.ts';
import type { Appender } from './appender.ts';
import { lengthDelimited } from './encode.ts';
import { type ListedRun, type ListPlace, listRuns } from './list.ts';
import { type Keeping, keptEntries } from './message.ts';
import { ALL_LEVELS } from './page.ts';
import { countLevels } from './summary.ts';

type Needs = {
  source: Logs;
  appender: Appender;
  tell: Tell;
  tokens: Tokens;
  defaultPageSize: number;
  keeping: Keeping;
  /** The runs that match a filter, in the order of their ids, from this one on. */
  runsOf(
    filter: ControllerFilter,
    page: { start: bigint | undefined; newestFirst: boolean; limit: number },
  ): Promise<ListedRun[]>;
};

type Served = Pick<Handlers<typeof LogService>, 'appendLogs' | 'listLogs' | 'summarizeLogs'>;

export function logService(needs: Needs): Served {
  const { source, tokens, appender } = needs;
  return {
    async appendLogs(request, { signal }) {
      const { backupId, requestId, leaseToken } = request;
      const entries = keptEntries(request.entries, needs.keeping, 'entries');
      const dropped = request.entries.length - entries.length;
      if (entries.length === 0) {
        if (leaseToken && !(await isHeld(sqlOn(source.pool), backupId, leaseToken))) throw leaseLost(backupId);
        return { dropped };
      }
      const kept = await appender.append(
        {
          backupId,
          entries,
          leaseToken,
          ...(requestId && {
            request: { id: requestId, digest: digestOf(toBinary(AppendLogsRequestSchema, request)), dropped },
          }),
        },
        signal,
      );
      if (!kept) throw leaseLost(backupId);
      if (kept.appended) needs.tell(backupId, entries, kept.appended);
      return requestId ? kept.answer : { ...kept.answer, dropped };
    },

    async listLogs(request) {
      const page = paging(tokens, ListLogsRequestSchema, request, needs.defaultPageSize);
      const newestFirst = request.order === LogOrder.NEWEST_FIRST;
      const start = page.after && placeOf(page.after);
      const runs = request.filter
        ? await needs.runsOf(request.filter, { start: start?.run, newestFirst, limit: RUNS_PER_PAGE + 1 })
        : [{ id: 0n, backupId: request.backupId }];
      const filter = {
        maxLevel: request.maxLevel || ALL_LEVELS,
        from: request.window?.start,
        to: request.window?.end,
        text: request.text,
        newestFirst,
      };
      const limits = { entries: page.size, bytes: PAGE_BYTES };
      const { logs, next } = await listRuns(source, runs.slice(0, RUNS_PER_PAGE), filter, start, limits, ENTRIES);
      const place = next ?? (runs[RUNS_PER_PAGE] && { run: runs[RUNS_PER_PAGE].id, after: undefined });
      if (!place) return Buffer.concat(logs);
      const token = Buffer.from(page.next([place.run, place.after ?? '']));
      return Buffer.concat([...logs, lengthDelimited(NEXT_PAGE_TOKEN, token)]);
    },

    async summarizeLogs({ backupId, filter, window }) {
      const within = { from: window?.start, to: window?.end, maxLevel: ALL_LEVELS };
      const counted = [];
      for await (const backupIds of logsOf(backupId, filter))
        counted.push(await countLevels(source, backupIds, within));
      const found = counted.flatMap(({ levels }) => levels);
      const sum = (level: number) =>
        found.reduce((total, one) => (one.level === level ? total + one.count : total), 0n);
      const levels = LEVELS.map(level => ({ level, count: sum(level) }));
      const first = ascending(found.map(one => one.first)).at(0);
      const last = ascending(found.map(one => one.last)).at(-1);
      return {
        total: levels.reduce((total, { count }) => total + count, 0n),
        levels,
        logs: counted.reduce((total, { logs }) => total + logs, 0n),
        ...(first !== undefined && { firstTime: fromNanos(first) }),
        ...(last !== undefined && { lastTime: fromNanos(last) }),
      };
    },
  };

  /** One log, or those of all runs that match, so many at a time. */
  async function* logsOf(backupId: string, filter: ControllerFilter | undefined): AsyncGenerator<string[]> {
    if (!filter) return yield [backupId];
    for (let start: bigint | undefined; ; ) {
      const runs = await needs.runsOf(filter, { start, newestFirst: false, limit: RUNS_PER_COUNT + 1 });
      yield runs.slice(0, RUNS_PER_COUNT).map(run => run.backupId);
      const next = runs[RUNS_PER_COUNT];
      if (!next) return;
      start = next.id;
    }
  }
}

const {
  entries: { number: ENTRIES },
  nextPageToken: { number: NEXT_PAGE_TOKEN },
} = ListLogsResponseSchema.field;

const RUNS_PER_COUNT = 1000;

const LEVELS = [LogLevel.ERROR, LogLevel.WARNING, LogLevel.INFO, LogLevel.DEBUG] as const;

/** A page stays below the 4 MiB that clients accept by default, whatever its messages are. */
const PAGE_BYTES = 4 * 1024 * 1024 - 64 * 1024;

/** How many logs a page looks into at most. It may come back with fewer entries than asked for; the next one goes on behind them. */
const RUNS_PER_PAGE = 50;

function placeOf([run, after]: string[]): ListPlace {
  return { run: BigInt(run!), after: after ? BigInt(after) : undefined };
}
