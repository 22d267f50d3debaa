import { createHash } from 'node:crypto';
import { clone, create, type MessageInitShape, toBinary } from '@bufbuild/protobuf';
import { conditions, toMessage } from '../controller/message.ts';
import type { Shown } from '../controller/row.ts';
import type { Sql } from '../db/sql.ts';
import { ErrorReason, StatusError } from '../errors.ts';
import {
  ControllerFilterSchema,
  type ControllerService,
  type WatchControllersRequest,
  WatchControllersRequestSchema,
  WatchControllersResponseSchema,
  WatchEnd_Reason,
} from '../gen/backup/v1/controller_pb.ts';
import type { Handlers } from '../grpc/bind.ts';
import type { Tokens } from '../tokens.ts';
import type { Hub } from './hub.ts';
import type { Wish } from './view.ts';
import { type Told, type WatchOptions, watch } from './watch.ts';

type Needs = { hub: Hub; sql: Sql; tokens: Tokens; options: WatchOptions };

export function watchService({
  hub,
  sql,
  tokens,
  options,
}: Needs): Pick<Handlers<typeof ControllerService>, 'watchControllers'> {
  return {
    async *watchControllers(request, context) {
      const wish = wishOf(request, tokens);
      const { resumeToken, untilFinished } = request;
      const since = resumeToken ? openToken(tokens, wish.key, resumeToken) : undefined;
      for await (const told of watch({ hub, sql, options }, { wish, since, untilFinished }, context)) {
        yield toBytes(told);
      }
    },
  };
}

/** A controller in the bytes of a message that tells nothing else. They can be joined to messages that tell of many. */
export function encodeController(controller: Shown): Buffer {
  return encode({ controllers: [toMessage(controller)] });
}

// Two messages one behind the other are one message with the fields of both: thousands of watchers are told of a change in bytes that were
// made once.
function toBytes(told: Told): Buffer {
  if (told.end) return encode({ end: { reason: WatchEnd_Reason[told.end] } });
  const { reset, states, removed, checkpoint } = told;
  const parts = [...states];
  if (reset) parts.unshift(encode({ reset }));
  if (removed.length > 0) parts.push(encode({ removedBackupIds: removed }));
  if (checkpoint) parts.push(checkpoint);
  return parts.length === 1 ? parts[0]! : Buffer.concat(parts);
}

function wishOf(request: WatchControllersRequest, tokens: Tokens): Wish {
  const { backupIds } = request;
  const filter = clone(ControllerFilterSchema, request.filter ?? create(ControllerFilterSchema));
  filter.statuses = [...new Set(filter.statuses)].sort((a, b) => a - b);
  filter.purposes = [...new Set(filter.purposes)].sort((a, b) => a - b);
  const wanted = create(
    WatchControllersRequestSchema,
    backupIds.length > 0 ? { backupIds: backupIds.toSorted() } : { filter },
  );
  const bytes = toBinary(WatchControllersRequestSchema, wanted, { writeUnknownFields: false });
  const key = createHash('sha256').update(bytes).digest('base64url');
  return {
    key,
    ids: backupIds.length > 0 ? new Set(backupIds) : undefined,
    conditions: backupIds.length > 0 ? {} : conditions(filter),
    checkpoint: at => encode({ resumeToken: tokens.seal(purposeOf(key), { at }) }),
  };
}

function openToken(tokens: Tokens, key: string, token: string): number {
  const content = tokens.open(purposeOf(key), token) as { at: number } | undefined;
  if (content) return content.at;
  throw new StatusError(ErrorReason.RESUME_TOKEN_INVALID, 'resume_token: not a token of a watch of these controllers');
}

function purposeOf(key: string): string {
  return `watch ${key}`;
}

function encode(told: MessageInitShape<typeof WatchControllersResponseSchema>): Buffer {
  const bytes = toBinary(WatchControllersResponseSchema, create(WatchControllersResponseSchema, told));
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}
