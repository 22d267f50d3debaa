import { type MessageInitShape, toBinary } from '@bufbuild/protobuf';
import { durationFromMs } from '@bufbuild/protobuf/wkt';
import type { Pool } from 'pg';
import type { Doorbell } from '../db/doorbell.ts';
import { sqlOn } from '../db/sql.ts';
import { leaseLost } from '../errors.ts';
import type { ControllerFilter, Status } from '../gen/backup/v1/controller_pb.ts';
import { LogLevel } from '../gen/backup/v1/entry_pb.ts';
import {
  AppendLogsRequestSchema,
  ListLogsRequestSchema,
  type LogHeadSchema,
  LogOrder,
  type LogService,
  TailEnd_Reason,
  type TailLogsRequest,
  type TailLogsResponseSchema,
} from '../gen/backup/v1/log_pb.ts';
import type { Handlers } from '../grpc/bind.ts';
import { paging } from '../paging.ts';
import { ascending, fromNanos } from '../timestamps.ts';
import type { Tokens } from '../tokens.ts';
import { digestOf, isHeld } from './append.ts';
import type { Appender } from './appender.ts';
import type { Head } from './head.ts';
import { type ListedRun, type ListPlace, listRuns } from './list.ts';
import { type Keeping, keptEntries, toMessage } from './message.ts';
import { ALL_LEVELS, type Position } from './page.ts';
import { openToken, sealToken } from './resume.ts';
import type { Start } from './start.ts';
import { countLevels } from './summary.ts';
import { type TailEvent, type TailOptions, tail } from './tail.ts';

type Needs = {
  pool: Pool;
  appender: Appender;
  doorbell: Doorbell;
  tokens: Tokens;
  defaultPageSize: number;
  keeping: Keeping;
  writeTimeoutMs: number;
  tail: TailOptions;
  /** The runs that match a filter, in the order of their ids, from this one on. */
  runsOf(
    filter: ControllerFilter,
    page: { start: bigint | undefined; newestFirst: boolean; limit: number },
  ): Promise<ListedRun[]>;
};

export function logService(needs: Needs): Handlers<typeof LogService> {
  const { pool, doorbell, tokens, appender } = needs;
  return {
    async appendLogs(request, { signal }) {
      const { backupId, requestId, leaseToken } = request;
      const entries = keptEntries(request.entries, needs.keeping, 'entries');
      const dropped = request.entries.length - entries.length;
      if (entries.length === 0) {
        if (leaseToken && !(await isHeld(sqlOn(pool), backupId, leaseToken))) throw leaseLost(backupId);
        return { dropped };
      }
      const answer = await appender.append(
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
      if (!answer) throw leaseLost(backupId);
      doorbell.ring(backupId);
      return requestId ? answer : { ...answer, dropped };
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
      const { entries, next } = await listRuns(pool, runs.slice(0, RUNS_PER_PAGE), filter, start, limits);
      const place = next ?? (runs[RUNS_PER_PAGE] && { run: runs[RUNS_PER_PAGE].id, after: undefined });
      return {
        entries: entries.map(entry => toMessage(entry, entry.backupId)),
        nextPageToken: place ? page.next([place.run, place.after ?? '']) : '',
      };
    },

    async summarizeLogs({ backupId, filter, window }) {
      const within = { from: window?.start, to: window?.end, maxLevel: ALL_LEVELS, text: '' };
      const counted = [];
      for await (const backupIds of logsOf(backupId, filter)) counted.push(await countLevels(pool, backupIds, within));
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

    async *tailLogs(request, context) {
      const wanted = {
        backupIds: request.backupIds,
        start: startOf(request, tokens),
        maxLevel: request.maxLevel || ALL_LEVELS,
        follow: request.follow || request.untilFinished,
        untilFinished: request.untilFinished,
      };
      for await (const event of tail({ pool, doorbell, options: needs.tail }, wanted, context)) {
        yield { event: toEvent(event, tokens, needs) };
      }
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

const RUNS_PER_COUNT = 1000;

const LEVELS = [LogLevel.ERROR, LogLevel.WARNING, LogLevel.INFO, LogLevel.DEBUG] as const;

/** A page stays below the 4 MiB that clients accept by default, whatever its messages are. */
const PAGE_BYTES = 4 * 1024 * 1024 - 64 * 1024;

/** How many logs a page looks into at most. It may come back with fewer entries than asked for; the next one goes on behind them. */
const RUNS_PER_PAGE = 50;

function placeOf([run, after]: string[]): ListPlace {
  return { run: BigInt(run!), after: after ? BigInt(after) : undefined };
}

function startOf({ start, backupIds }: TailLogsRequest, tokens: Tokens): Start {
  switch (start.case) {
    case 'last':
      return { from: 'last', entries: start.value };
    case 'since':
      return { from: 'time', seconds: start.value.seconds, nanos: start.value.nanos };
    case 'afterId':
      return { from: 'positions', positions: new Map([[backupIds[0]!, { id: start.value, fingerprint: '' }]]) };
    case 'resumeToken':
      return { from: 'positions', positions: openToken(tokens, start.value, backupIds) };
    default:
      return { from: 'beginning' };
  }
}

function toEvent(event: TailEvent, tokens: Tokens, needs: Needs): EventInit {
  const resumeToken = sealToken(tokens, event.positions);
  switch (event.kind) {
    case 'started':
      return {
        case: 'started',
        value: {
          heads: [...event.heads].map(([backupId, head]) => toHead(backupId, head)),
          resumeToken,
          heartbeat: durationFromMs(needs.tail.heartbeatMs),
          maxAge: durationFromMs(needs.tail.maxAgeMs),
          writeTimeout: durationFromMs(needs.writeTimeoutMs),
        },
      };
    case 'entries':
      return {
        case: 'entries',
        value: { backupId: event.backupId, entries: event.entries.map(entry => toMessage(entry)), resumeToken },
      };
    case 'caught_up':
      return { case: 'caughtUp', value: { resumeToken, positions: toPositions(event.positions) } };
    case 'fell_behind':
      return { case: 'fellBehind', value: { resumeToken, lag: event.lag } };
    case 'checkpoint':
      return { case: 'checkpoint', value: { resumeToken, positions: toPositions(event.positions) } };
    case 'truncated':
      return {
        case: 'truncated',
        value: { backupId: event.backupId, fromId: event.fromId, toId: event.toId, resumeToken },
      };
    case 'state':
      return {
        case: 'state',
        value: { backupId: event.backupId, status: event.status as Status, progress: Number(event.progress) },
      };
    case 'end':
      return {
        case: 'end',
        value: { reason: TailEnd_Reason[event.reason], resumeToken, backupId: event.backupId ?? '' },
      };
  }
}

type EventInit = NonNullable<MessageInitShape<typeof TailLogsResponseSchema>['event']>;

function toPositions(positions: ReadonlyMap<string, Position>): { backupId: string; lastId: bigint }[] {
  return [...positions].map(([backupId, { id }]) => ({ backupId, lastId: id }));
}

function toHead(backupId: string, { firstId, lastId, sealedId }: Head): MessageInitShape<typeof LogHeadSchema> {
  const empty = lastId < firstId;
  return { backupId, firstId: empty ? 0n : firstId, lastId, ...(sealedId !== undefined && { sealedId }) };
}
