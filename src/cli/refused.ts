import { fromBinary } from '@bufbuild/protobuf';
import { anyUnpack } from '@bufbuild/protobuf/wkt';
import { type ServiceError, status } from '@grpc/grpc-js';
import { BadRequestSchema, ErrorInfoSchema } from '../gen/google/rpc/error_details_pb.ts';
import { StatusSchema } from '../gen/google/rpc/status_pb.ts';
import { type EXIT, Failure } from './failure.ts';
import type { Settings } from './settings.ts';
import { printable } from './terminal/text.ts';

/** What the service, or the way to it, answered instead: what, why by its reason, in which fields, and how to mend it. */
export function refused(error: ServiceError, settings: Settings): Failure {
  const { reason, fields } = detailsOf(error);
  const name = status[error.code] ?? String(error.code);
  const where = fields.length > 0 ? fields.map(one => `${one.field}: ${one.description}`).join('; ') : error.details;
  return new Failure(
    EXITS[error.code] ?? 'FAILED',
    printable(`${reason ? `${name} (${reason})` : name}: ${where}`),
    hintFor(error, settings),
  );
}

export function isServiceError(error: unknown): error is ServiceError {
  return error instanceof Error && 'details' in error && typeof (error as ServiceError).code === 'number';
}

const EXITS: { [code: number]: keyof typeof EXIT } = {
  [status.INVALID_ARGUMENT]: 'WRONG_USE',
  [status.OUT_OF_RANGE]: 'WRONG_USE',
  [status.NOT_FOUND]: 'NOT_FOUND',
  [status.ALREADY_EXISTS]: 'REFUSED',
  [status.FAILED_PRECONDITION]: 'REFUSED',
  [status.ABORTED]: 'REFUSED',
  [status.UNAVAILABLE]: 'UNAVAILABLE',
  [status.DEADLINE_EXCEEDED]: 'UNAVAILABLE',
  [status.RESOURCE_EXHAUSTED]: 'UNAVAILABLE',
  [status.UNAUTHENTICATED]: 'NOT_ALLOWED',
  [status.PERMISSION_DENIED]: 'NOT_ALLOWED',
};

/** The reason of the service, empty when the error is not its own, and the fields that it names. */
export function detailsOf(error: ServiceError): { reason: string; fields: { field: string; description: string }[] } {
  const [binary] = error.metadata?.get('grpc-status-details-bin') ?? [];
  const details = binary instanceof Uint8Array ? fromBinary(StatusSchema, binary).details : [];
  const info = details.map(any => anyUnpack(any, ErrorInfoSchema)).find(one => one !== undefined);
  const fields = details.flatMap(any => anyUnpack(any, BadRequestSchema)?.fieldViolations ?? []);
  return { reason: info?.reason ?? '', fields };
}

function hintFor(
  error: ServiceError,
  { address, timeout, tls, tlsCa, tlsCert, token, tokenFile }: Settings,
): string | undefined {
  const at = address.join(', ');
  const ours = detailsOf(error).reason !== '';
  switch (error.code) {
    case status.UNAVAILABLE:
      if (ours) return 'the service is there, and cannot answer now: try again in a moment';
      if (/certificate|TLS|SSL|self.signed/i.test(error.details))
        return 'see --tls-ca: the authority that signed the certificate of the service';
      if (tls || tlsCa || tlsCert || token || tokenFile)
        return `does the service run on ${at}, and with TLS? --address says where it is`;
      return `does the service run on ${at}? --address says where it is, --tls-ca that it wants TLS`;
    case status.DEADLINE_EXCEEDED:
      return `--timeout is ${timeout} ms; backupctl doctor says what is slow`;
    case status.UNAUTHENTICATED:
      if (token || tokenFile) return 'the token is not valid, or no more: see --token-file';
      return 'say who you are: --tls-cert and --tls-key, or --token-file';
    case status.PERMISSION_DENIED:
      return 'whoever gives out tokens or maps certificates has to give you that scope';
    case status.UNIMPLEMENTED:
      return 'the service is older than this backupctl: backupctl doctor compares them';
    default:
      return undefined;
  }
}
