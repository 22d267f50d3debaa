import { type MessageInitShape, toJsonString } from '@bufbuild/protobuf';
import { durationFromMs } from '@bufbuild/protobuf/wkt';
import type { Status } from '../gen/backup/v1/controller_pb.ts';
import {
  type LogHeadSchema,
  TailEnd_Reason,
  TailEntriesSchema,
  type TailFilter,
  TailFilterSchema,
  type TailLogsRequest,
  TailLogsResponseSchema,
} from '../gen/backup/v1/log_pb.ts';
import { Frame } from '../grpc/frame.ts';
import { delimited, lengthDelimited } from '../log/encode.ts';
import type { Head } from '../log/head.ts';
import type { Tokens } from '../tokens.ts';
import type { FollowedLog } from './followed.ts';
import type { WideRequest } from './placing.ts';
import { openPlaces, openToken, sealPlaces, sealToken } from './resume.ts';
import type { PlainStart, Start } from './start.ts';
import type { TailEvent } from './tail.ts';
import type { Page } from './watched.ts';
import { UNTOLD, type WideEvent } from './wide.ts';

/** Where a tail of named backups is to start. */
export function startOf({ start, backupIds }: TailLogsRequest, tokens: Tokens): Start {
  switch (start.case) {
    case 'afterId':
      return { from: 'positions', positions: new Map([[backupIds[0]!, { id: start.value, fingerprint: '' }]]) };
    case 'resumeToken':
      return { from: 'positions', positions: openToken(tokens, start.value, backupIds) };
    default:
      return plainStart(start);
  }
}

/** Where a tail of many logs is to start. */
export function wideStartOf({ start, filter }: TailLogsRequest, tokens: Tokens): WideRequest['start'] {
  if (start.case !== 'resumeToken') return plainStart(start);
  return { from: 'places', places: openPlaces(tokens, start.value, nameOf(filter)) };
}

function plainStart(start: TailLogsRequest['start']): PlainStart {
  if (start.case === 'last') return { from: 'last', entries: start.value };
  if (start.case === 'since') return { from: 'time', seconds: start.value.seconds, nanos: start.value.nanos };
  return { from: 'beginning' };
}

/** Tells filters apart; that of everything is the empty text. */
function nameOf(filter: TailFilter | undefined): string {
  return filter ? `?${toJsonString(TailFilterSchema, filter)}` : '';
}

/** An event on the wire. */
export function toResponse(event: TailEvent, tokens: Tokens, limits: TailLimits): { event: EventInit } | Frame {
  if (event.kind === 'entries') return toEntries(event, tokens);
  // Who was told nothing yet begins as before.
  return { event: toEvent(event, event.logs.length > 0 ? sealToken(tokens, event.logs) : '', limits) };
}

/** An event of a tail of many logs on the wire. */
export function toWideResponse(
  event: WideEvent,
  filter: TailFilter | undefined,
  tokens: Tokens,
  limits: TailLimits,
): { event: EventInit } | Frame {
  const token = () => (event.places === UNTOLD ? '' : sealPlaces(tokens, event.places, nameOf(filter)));
  if (event.kind === 'entries') return encodePage(event.backupId, event.page, event.last ? token() : '');
  return { event: toEvent({ ...event, logs: [] }, token(), limits) };
}

/** Who follows the log alone gets the very bytes that all others get who are at the same place. */
function toEntries({ backupId, page, logs }: TailEvent & { kind: 'entries' }, tokens: Tokens): Frame {
  if (logs.length > 1) return encodePage(backupId, page, sealToken(tokens, logs));
  page.message ??= encodePage(backupId, page, sealToken(tokens, logs));
  return page.message;
}

function encodePage(backupId: string, { bytes }: Page, resumeToken: string): Frame {
  const fields = TailEntriesSchema.field;
  return Frame.of(
    ...delimited(
      TailLogsResponseSchema.field.entries.number,
      lengthDelimited(fields.backupId.number, Buffer.from(backupId)),
      bytes,
      ...(resumeToken ? [lengthDelimited(fields.resumeToken.number, Buffer.from(resumeToken))] : []),
    ),
  );
}

function toEvent(event: Exclude<TailEvent, { kind: 'entries' }>, resumeToken: string, limits: TailLimits): EventInit {
  const { logs } = event;
  switch (event.kind) {
    case 'started':
      return {
        case: 'started',
        value: {
          heads: logs.map(({ backupId, head }) => toHead(backupId, head)),
          resumeToken,
          heartbeat: durationFromMs(limits.heartbeatMs),
          maxAge: durationFromMs(limits.maxAgeMs),
          writeTimeout: durationFromMs(limits.writeTimeoutMs),
        },
      };
    case 'caught_up':
      return { case: 'caughtUp', value: { resumeToken, positions: toPositions(logs) } };
    case 'fell_behind':
      return { case: 'fellBehind', value: { resumeToken, lag: event.lag } };
    case 'checkpoint':
      return { case: 'checkpoint', value: { resumeToken, positions: toPositions(logs) } };
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

/** What a subscriber is told of the service's limits, in milliseconds. */
export type TailLimits = { heartbeatMs: number; maxAgeMs: number; writeTimeoutMs: number };

type EventInit = NonNullable<MessageInitShape<typeof TailLogsResponseSchema>['event']>;

function toPositions(logs: readonly FollowedLog[]): { backupId: string; lastId: bigint }[] {
  return logs.map(({ backupId, position }) => ({ backupId, lastId: position.id }));
}

function toHead(backupId: string, { firstId, lastId, sealedId }: Head): MessageInitShape<typeof LogHeadSchema> {
  const empty = lastId < firstId;
  return { backupId, firstId: empty ? 0n : firstId, lastId, ...(sealedId !== undefined && { sealedId }) };
}
