import type { MessageInitShape } from '@bufbuild/protobuf';
import { durationFromMs } from '@bufbuild/protobuf/wkt';
import type { Status } from '../gen/backup/v1/controller_pb.ts';
import {
  type LogHeadSchema,
  TailEnd_Reason,
  type TailLogsRequest,
  type TailLogsResponseSchema,
} from '../gen/backup/v1/log_pb.ts';
import type { Head } from '../log/head.ts';
import { toMessage } from '../log/message.ts';
import type { Position } from '../log/page.ts';
import type { Tokens } from '../tokens.ts';
import { openToken, sealToken } from './resume.ts';
import type { Start } from './start.ts';
import type { TailEvent } from './tail.ts';

/** Where a tail is to start. */
export function startOf({ start, backupIds }: TailLogsRequest, tokens: Tokens): Start {
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

export function toEvent(event: TailEvent, tokens: Tokens, limits: TailLimits): EventInit {
  const resumeToken = sealToken(tokens, event.positions);
  switch (event.kind) {
    case 'started':
      return {
        case: 'started',
        value: {
          heads: [...event.heads].map(([backupId, head]) => toHead(backupId, head)),
          resumeToken,
          heartbeat: durationFromMs(limits.heartbeatMs),
          maxAge: durationFromMs(limits.maxAgeMs),
          writeTimeout: durationFromMs(limits.writeTimeoutMs),
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

/** What a subscriber is told of the service's limits, in milliseconds. */
export type TailLimits = { heartbeatMs: number; maxAgeMs: number; writeTimeoutMs: number };

type EventInit = NonNullable<MessageInitShape<typeof TailLogsResponseSchema>['event']>;

function toPositions(positions: ReadonlyMap<string, Position>): { backupId: string; lastId: bigint }[] {
  return [...positions].map(([backupId, { id }]) => ({ backupId, lastId: id }));
}

function toHead(backupId: string, { firstId, lastId, sealedId }: Head): MessageInitShape<typeof LogHeadSchema> {
  const empty = lastId < firstId;
  return { backupId, firstId: empty ? 0n : firstId, lastId, ...(sealedId !== undefined && { sealedId }) };
}
