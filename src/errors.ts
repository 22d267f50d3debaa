import { create, getOption, type MessageInitShape, toBinary } from '@bufbuild/protobuf';
import { type Any, anyPack } from '@bufbuild/protobuf/wkt';
import { Metadata, type StatusObject } from '@grpc/grpc-js';
import { OptimisticLockError } from '@mikro-orm/core';
import { code, ErrorReason, ErrorReasonSchema } from './gen/backup/v1/error_pb.ts';
import { Code } from './gen/google/rpc/code_pb.ts';
import {
  BadRequestSchema,
  ErrorInfoSchema,
  PreconditionFailureSchema,
  RequestInfoSchema,
  RetryInfoSchema,
} from './gen/google/rpc/error_details_pb.ts';
import { StatusSchema } from './gen/google/rpc/status_pb.ts';

export { ErrorReason };

/** The `domain` of every `google.rpc.ErrorInfo` that this service sends. */
export const ERROR_DOMAIN = 'backup.v1';

/** A refusal. Its reason decides the code (`proto/backup/v1/error.proto`); the message is for people and is sent as it is. */
export class StatusError extends Error {
  override readonly name = 'StatusError';
  readonly reason: ErrorReason;
  readonly details: Any[];
  readonly metadata: Record<string, string>;

  constructor(
    reason: ErrorReason,
    message: string,
    more: { details?: Any[]; metadata?: Record<string, string>; cause?: unknown } = {},
  ) {
    super(message, { cause: more.cause });
    this.reason = reason;
    this.details = more.details ?? [];
    this.metadata = more.metadata ?? {};
  }

  get code(): Code {
    return codeOf(this.reason);
  }
}

/** INVALID_FIELD with the path of each field and what is wrong with it; of many the first ones. */
export function invalidFields(...all: { field: string; description: string }[]): StatusError {
  const violations = all.slice(0, MOST_VIOLATIONS);
  const more = all.length > violations.length ? `; and ${all.length - violations.length} more` : '';
  const message = violations.map(v => `${v.field}: ${v.description}`).join('; ') + more;
  return new StatusError(ErrorReason.INVALID_FIELD, message, {
    details: [anyPack(BadRequestSchema, create(BadRequestSchema, { fieldViolations: violations }))],
  });
}

/** Whoever wrote for this run does not hold its lease, or no longer. */
export function leaseLost(backupId: string): StatusError {
  return new StatusError(ErrorReason.LEASE_LOST, `the lease of ${backupId} is not yours any more`);
}

/** A status travels in HTTP/2 headers: with 1000 of them the client lost its connection, and 100 take 5 KB twice. */
export const MOST_VIOLATIONS = 20;

export function retryAfter(ms: number): Any {
  const retryDelay = { seconds: BigInt(Math.trunc(ms / 1000)), nanos: (ms % 1000) * 1_000_000 };
  return anyPack(RetryInfoSchema, create(RetryInfoSchema, { retryDelay }));
}

/**
 * RESOURCE_EXHAUSTED: which limit, of whom (`replica`, `connection`, `caller`), how much it is, and the connection or caller by name; to be tried again
 * after so many milliseconds.
 */
export function exhausted(
  reason: ErrorReason,
  message: string,
  { limit, of, most, whose = '' }: { limit: string; of: string; most: number; whose?: string },
  retryMs: number,
): StatusError {
  return new StatusError(reason, message, {
    details: [retryAfter(retryMs)],
    metadata: { limit, of, most: String(most), ...(whose && { whose }) },
  });
}

export function preconditions(
  violations: MessageInitShape<typeof PreconditionFailureSchema>['violations'] & object,
): Any {
  return anyPack(PreconditionFailureSchema, create(PreconditionFailureSchema, { violations }));
}

/** The only way from any error to a gRPC status. What is not known here is INTERNAL and keeps its text to itself. */
export function toStatus(error: unknown, requestId: string): StatusObject {
  const { reason, message: whole, details, metadata } = toStatusError(error);
  const message = shortened(whole);
  const status = create(StatusSchema, {
    code: codeOf(reason),
    message,
    details: [
      anyPack(ErrorInfoSchema, create(ErrorInfoSchema, { reason: reasonName(reason), domain: ERROR_DOMAIN, metadata })),
      ...details,
      anyPack(RequestInfoSchema, create(RequestInfoSchema, { requestId })),
    ],
  });
  const trailer = new Metadata();
  trailer.set('grpc-status-details-bin', Buffer.from(toBinary(StatusSchema, status)));
  return { code: status.code, details: message, metadata: trailer };
}

/**
 * A text travels in HTTP/2 headers, twice, and each byte of it as three: the name of a service of 70,000 characters, repeated in its refusal, took
 * the client's connection with it.
 */
function shortened(message: string): string {
  if (message.length <= LONGEST_MESSAGE) return message;
  return `${message.slice(0, LONGEST_MESSAGE).toWellFormed()} and so on`;
}

const LONGEST_MESSAGE = 2000;

/** The same, one step earlier. */
export function toStatusError(error: unknown): StatusError {
  if (error instanceof StatusError) return error;
  if (error instanceof OptimisticLockError) return new StatusError(ErrorReason.ETAG_MISMATCH, 'the row has changed');
  for (let at: unknown = error; at instanceof Error; at = at.cause) {
    const known = fromDatabase(at);
    if (known) return known;
  }
  return new StatusError(ErrorReason.INTERNAL, 'internal error', { cause: error });
}

/** True while the database, or the store of old log entries, cannot be reached, is restarting or has more to do than it can: the same may succeed in a moment. */
export function isOutage(error: unknown): boolean {
  const { reason } = toStatusError(error);
  return OUTAGES.has(reason);
}

const OUTAGES: ReadonlySet<ErrorReason> = new Set([
  ErrorReason.DATABASE_UNAVAILABLE,
  ErrorReason.SEGMENTS_UNAVAILABLE,
  ErrorReason.OVERLOADED,
]);

/** True when a statement was stopped because it took too long: whoever waits for it has no time left either. */
export function isTooLate(error: unknown): boolean {
  return toStatusError(error).reason === ErrorReason.DEADLINE_EXCEEDED;
}

function fromDatabase(error: Error & { code?: unknown }): StatusError | undefined {
  const state = typeof error.code === 'string' ? error.code : '';
  if (OUTAGE_STATES.test(state) || OUTAGE_MESSAGES.test(error.message)) {
    return new StatusError(ErrorReason.DATABASE_UNAVAILABLE, 'the database does not answer', {
      details: [retryAfter(1000)],
      cause: error,
    });
  }
  if (state === '40001' || state === '40P01') {
    return new StatusError(ErrorReason.CONFLICT, 'the call met another one on the same rows; send it again', {
      details: [retryAfter(50)],
      cause: error,
    });
  }
  if (EXHAUSTED_STATES.test(state)) {
    return new StatusError(ErrorReason.DATABASE_EXHAUSTED, 'the database has no space or memory left', {
      details: [retryAfter(5000)],
      cause: error,
    });
  }
  if (state === '57014') {
    return new StatusError(ErrorReason.DEADLINE_EXCEEDED, 'the call took too long', { cause: error });
  }
  return undefined;
}

// Class 08 and 57P0x of PostgreSQL, a transaction that stood still for too long, a server that has become a standby, too many connections, and what node says of a socket that fails.
const OUTAGE_STATES =
  /^(08...|57P0[1-5]|25P03|25006|53300|ECONNREFUSED|ECONNRESET|EPIPE|ETIMEDOUT|EHOSTUNREACH|ENETUNREACH|ENOTFOUND|EAI_AGAIN)$/;
// Disk, memory, and other limits of the server; not its connections, which others give back.
const EXHAUSTED_STATES = /^53(000|100|200|400)$/;
// pg has no codes for these, and Citus none for one of its nodes that goes away in the middle of a transaction.
const OUTAGE_MESSAGES =
  /^(failure on connection marked as essential|terminating connection (due|because)|server closed the connection|Connection terminated|Client has encountered a connection error|timeout exceeded when trying to connect|Query read timeout|Client was closed|database ".*" is not currently accepting connections)/;

const codes = new Map<ErrorReason, Code>(
  ErrorReasonSchema.values.map(value => [value.number as ErrorReason, getOption(value, code)]),
);

/** The name of a reason on the wire. */
export function reasonName(reason: ErrorReason): string {
  return ErrorReasonSchema.value[reason]?.localName ?? 'INTERNAL';
}

function codeOf(reason: ErrorReason): Code {
  return codes.get(reason) || Code.INTERNAL;
}
