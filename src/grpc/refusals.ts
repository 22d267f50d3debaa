import { randomUUID } from 'node:crypto';
import { type StatusObject, status } from '@grpc/grpc-js';
import { BaseServerInterceptingCall } from '@grpc/grpc-js/build/src/server-interceptors.js';
import { ErrorReason, exhausted, StatusError, toStatus } from '../errors.ts';

/** As headers that are all of an answer. */
export type RefusalHeaders = Record<string, string | number>;

/** The refusal of a request that does not come as a whole: too slowly, or while `most` bytes of such requests are there. */
export function refusalOfPart(why: 'late' | 'full', most: number): RefusalHeaders {
  return toHeaders(toStatus(why === 'late' ? tooSlow() : tooMany(most), randomUUID()));
}

/**
 * Gives the refusals of grpc-js itself their reasons. It refuses by itself what never reaches a handler: a message that is too long, badly compressed, one
 * too many. Some of that it calls INTERNAL although the peer is at fault. There is no public place for this: an interceptor would be called for
 * every call, and where grpc-js has changed they are said as grpc-js says them.
 */
export function explainRefusals(): void {
  const { prototype } = BaseServerInterceptingCall;
  const send = prototype.sendStatus;
  if (typeof send !== 'function' || explained.has(send)) return;
  const sendStatus: typeof send = function (this: BaseServerInterceptingCall, given) {
    const plain = given.code === status.OK || given.metadata?.get('grpc-status-details-bin').length;
    send.call(this, plain ? given : toStatus(reasonOf(given), randomUUID()));
  };
  explained.add(sendStatus);
  prototype.sendStatus = sendStatus;
}

const explained = new WeakSet<object>();

function reasonOf({ code, details }: { code?: status | null; details?: string | null }): StatusError {
  const known = code === status.INTERNAL ? badly(details) : reasons.get(code ?? status.UNKNOWN);
  return new StatusError(known ?? ErrorReason.INTERNAL, details ?? '');
}

/** A message that cannot be decompressed, a deadline that is none. */
function badly(details: string | null | undefined): ErrorReason | undefined {
  return /^(Failed to decompress|Invalid grpc-timeout)/.test(details ?? '') ? ErrorReason.MALFORMED_MESSAGE : undefined;
}

const reasons = new Map<status, ErrorReason>([
  [status.RESOURCE_EXHAUSTED, ErrorReason.MESSAGE_TOO_LARGE],
  [status.UNIMPLEMENTED, ErrorReason.UNSUPPORTED_CALL],
  [status.DEADLINE_EXCEEDED, ErrorReason.DEADLINE_EXCEEDED],
  [status.CANCELLED, ErrorReason.CANCELLED],
]);

function tooSlow(): StatusError {
  return new StatusError(ErrorReason.DEADLINE_EXCEEDED, 'the request did not arrive in time');
}

function tooMany(most: number): StatusError {
  const message = `the requests that are arriving have ${most} bytes already`;
  return exhausted(ErrorReason.OVERLOADED, message, { limit: 'request bytes', of: 'replica', most }, 1000);
}

function toHeaders({ code, details, metadata }: StatusObject): RefusalHeaders {
  return {
    ':status': 200,
    'content-type': 'application/grpc+proto',
    'grpc-status': code,
    'grpc-message': encodeURI(details),
    ...(metadata.toHttp2Headers() as RefusalHeaders),
  };
}
