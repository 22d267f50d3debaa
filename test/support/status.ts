import assert from 'node:assert/strict';
import { fromBinary } from '@bufbuild/protobuf';
import { anyUnpack } from '@bufbuild/protobuf/wkt';
import { type Metadata, type ServiceError, status } from '@grpc/grpc-js';
import type { ErrorReason } from '../../src/gen/backup/v1/error_pb.ts';
import {
  type BadRequest,
  BadRequestSchema,
  type ErrorInfo,
  ErrorInfoSchema,
  type PreconditionFailure,
  PreconditionFailureSchema,
  type RequestInfo,
  RequestInfoSchema,
  type RetryInfo,
  RetryInfoSchema,
} from '../../src/gen/google/rpc/error_details_pb.ts';
import { StatusSchema } from '../../src/gen/google/rpc/status_pb.ts';

/** What a call may be refused with. `field` is the path of the one field that is at fault. */
export type Refusal = { code: keyof typeof status; reason: keyof typeof ErrorReason; field?: string };

/** What `google.rpc.Status` says of a refused call. */
export type Details = {
  code: status;
  message: string;
  info: ErrorInfo | undefined;
  badRequest: BadRequest | undefined;
  preconditions: PreconditionFailure | undefined;
  retry: RetryInfo | undefined;
  request: RequestInfo | undefined;
};

/** Asserts that the service refuses a call with this code and reason, and returns all it says. */
export async function refused(call: Promise<unknown>, expected: Refusal): Promise<Details> {
  const error = await failure(call);
  const details = detailsOf(error.metadata);
  const told = { code: status[error.code], reason: details.info?.reason, domain: details.info?.domain };
  assert.deepEqual(told, { code: expected.code, reason: expected.reason, domain: 'backup.v1' }, error.message);
  assert.equal(details.code, error.code, 'the status in the details has another code');
  assert.equal(details.message, error.details);
  if (expected.field !== undefined) assert.deepEqual(fields(details.badRequest), [expected.field], error.message);
  return details;
}

/** Asserts that a call ends with this code, whoever says so: grpc-js itself sends no details. */
export async function endsWith(call: Promise<unknown>, code: keyof typeof status): Promise<void> {
  assert.equal(status[(await failure(call)).code], code);
}

/** Reads `grpc-status-details-bin`. */
export function detailsOf(metadata: Metadata): Details {
  const [bytes] = metadata.get('grpc-status-details-bin');
  assert.ok(bytes instanceof Buffer, 'the status has no details');
  const { code, message, details } = fromBinary(StatusSchema, bytes);
  const first = <T>(all: (T | undefined)[]) => all.find(detail => detail !== undefined);
  return {
    code,
    message,
    info: first(details.map(any => anyUnpack(any, ErrorInfoSchema))),
    badRequest: first(details.map(any => anyUnpack(any, BadRequestSchema))),
    preconditions: first(details.map(any => anyUnpack(any, PreconditionFailureSchema))),
    retry: first(details.map(any => anyUnpack(any, RetryInfoSchema))),
    request: first(details.map(any => anyUnpack(any, RequestInfoSchema))),
  };
}

/** How many of these calls succeeded; all others must have been refused as expected. */
export async function winners(calls: Promise<unknown>[], expected: Refusal): Promise<number> {
  const outcomes = await Promise.allSettled(calls);
  const lost = calls.filter((_, i) => outcomes[i]!.status === 'rejected');
  for (const call of lost) await refused(call, expected);
  return calls.length - lost.length;
}

async function failure(call: Promise<unknown>): Promise<ServiceError> {
  const outcome = await call.then(
    () => undefined,
    (error: ServiceError) => error,
  );
  assert.ok(outcome, 'the call was not refused');
  return outcome;
}

function fields(badRequest: BadRequest | undefined): string[] {
  return [...new Set(badRequest?.fieldViolations.map(violation => violation.field))];
}

const PASSING = new Set<number>([status.UNAVAILABLE, status.DEADLINE_EXCEEDED, status.CANCELLED]);

const PASSING_REASONS = new Set(['CONFLICT', 'OVERLOADED', 'DATABASE_EXHAUSTED']);

/** Whether a client should ask again: by its code, or the reason that the service gave. What is INTERNAL or UNKNOWN by the service is not. */
export function isPassing(error: ServiceError): boolean {
  if (PASSING.has(error.code)) return true;
  const said = error.metadata?.get('grpc-status-details-bin') ?? [];
  if (said.length > 0) return PASSING_REASONS.has(detailsOf(error.metadata).info?.reason ?? '');
  // What grpc-js says by itself of a connection that breaks in the middle of an answer.
  return error.code === status.INTERNAL && /RST_STREAM|GOAWAY/.test(error.details);
}
