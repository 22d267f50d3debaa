import { fromBinary } from '@bufbuild/protobuf';
import { anyUnpack, durationMs } from '@bufbuild/protobuf/wkt';
import { type ServiceError, status } from '@grpc/grpc-js';
import type { ErrorReason } from '../gen/backup/v1/error_pb.ts';
import {
  BadRequestSchema,
  ErrorInfoSchema,
  PreconditionFailureSchema,
  RequestInfoSchema,
  RetryInfoSchema,
} from '../gen/google/rpc/error_details_pb.ts';
import { type Status, StatusSchema } from '../gen/google/rpc/status_pb.ts';

/** Why the service refused: the name of an `ErrorReason`. A newer service may send one that is not known here. */
export type Reason = Exclude<keyof typeof ErrorReason, 'UNSPECIFIED'> | (string & {});

/** A call that failed, with all that was said about it. Who looks at `reason` first and at `code` only where there is none is right. */
export class RpcError extends Error {
  override readonly name = 'RpcError';
  /** The gRPC status; never OK. */
  readonly code: status;
  /** Absent when it was not the service that said no: nobody answered, or something between. */
  readonly reason: Reason | undefined;
  /** What is wrong with which field of the request, by its path in the `.proto`. */
  readonly fields: { field: string; description: string }[];
  /** What should have been the case first: for ILLEGAL_TRANSITION the statuses that are legal. */
  readonly preconditions: { type: string; subject: string; description: string }[];
  /** What the reason's comment in `error.proto` names: `worker`, `backup_id`, `limit` and so on. */
  readonly metadata: Record<string, string>;
  /** In how many milliseconds to try again, if the service said so. It has done nothing then. */
  readonly retryAfterMs: number | undefined;
  /** Under which id the service's own log tells more. */
  readonly callId: string | undefined;

  constructor(error: ServiceError) {
    const { details = [], message } = statusOf(error) ?? {};
    super(message || error.details || error.message, { cause: error });
    const found = <T>(unpack: (any: NonNullable<Status['details']>[number]) => T | undefined) =>
      details.map(unpack).find(one => one !== undefined);
    const info = found(any => anyUnpack(any, ErrorInfoSchema));
    const retryDelay = found(any => anyUnpack(any, RetryInfoSchema))?.retryDelay;
    this.code = error.code;
    this.reason = info?.reason;
    this.metadata = { ...info?.metadata };
    this.fields = (found(any => anyUnpack(any, BadRequestSchema))?.fieldViolations ?? []).map(
      ({ field, description }) => ({ field, description }),
    );
    this.preconditions = (found(any => anyUnpack(any, PreconditionFailureSchema))?.violations ?? []).map(
      ({ type, subject, description }) => ({ type, subject, description }),
    );
    this.retryAfterMs = retryDelay && durationMs(retryDelay);
    this.callId = found(any => anyUnpack(any, RequestInfoSchema))?.requestId;
  }

  /** Whether the same call may succeed in a moment. */
  get passing(): boolean {
    if (this.code === status.UNAVAILABLE || this.code === status.DEADLINE_EXCEEDED) return true;
    if (this.retryAfterMs !== undefined) return true;
    // What grpc-js says of connections that break in the middle of a call.
    if (this.reason !== undefined) return false;
    return this.code === status.CANCELLED || (this.code === status.INTERNAL && /RST_STREAM|GOAWAY/.test(this.message));
  }
}

/** What a call has failed with, for its caller: why it was aborted if it was, else what is known of a failure of the call. */
export function failureOf(error: unknown, signal?: AbortSignal): unknown {
  if (signal?.aborted) return signal.reason;
  const { code, metadata } = error as Partial<ServiceError>;
  return typeof code === 'number' && metadata && !(error instanceof RpcError)
    ? new RpcError(error as ServiceError)
    : error;
}

function statusOf({ metadata }: ServiceError): Status | undefined {
  const [bytes] = metadata.get('grpc-status-details-bin');
  try {
    return bytes instanceof Buffer ? fromBinary(StatusSchema, bytes) : undefined;
  } catch {
    return undefined;
  }
}
