import { status } from '@grpc/grpc-js';
import type { RpcError } from '../client/error.ts';
import { type EXIT, Failure } from './failure.ts';
import type { Settings } from './settings.ts';
import { printable } from './terminal/text.ts';
import { durationText } from './terminal/times.ts';

/** What the service, or the way to it, answered instead: what, why by its reason, in which fields, and how to mend it. */
export function refused(error: RpcError, settings: Settings): Failure {
  const { code, reason, fields, message } = error;
  const what = reason ? `${status[code]} (${reason})` : (status[code] ?? String(code));
  const where = fields.map(({ field, description }) => `${field}: ${description}`).join('; ');
  const text = printable(`${what}: ${where || withoutEcho(message)}`);
  return new Failure(EXITS[code] ?? 'FAILED', text, hintFor(error, settings));
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

/** grpc-js says an error of a connection twice, and ends with a note that is empty. */
function withoutEcho(message: string): string {
  return message
    .replace(/^No connection established\. Last error: (Error: )?/, '')
    .replace(/\.? Resolution note: $/, '');
}

function hintFor({ code, reason, message, retryAfterMs }: RpcError, settings: Settings): string | undefined {
  switch (code) {
    case status.UNAVAILABLE:
      return reason
        ? `the service is there, and cannot answer now: ${again(retryAfterMs)}`
        : connectionHint(message, settings);
    case status.RESOURCE_EXHAUSTED:
      return again(retryAfterMs);
    case status.DEADLINE_EXCEEDED:
      return `nothing came within ${durationText(settings.timeout)} (--timeout); backupctl doctor says what is slow`;
    case status.UNAUTHENTICATED:
      return settings.token || settings.tokenFile
        ? 'see --token-file: the token is not valid, or not any more'
        : 'say who you are: --token-file, or --tls-cert and --tls-key';
    case status.PERMISSION_DENIED:
      return 'whoever gives out tokens, or says what certificates may do, has to give you that scope';
    case status.UNIMPLEMENTED:
      return 'this service is another version than this backupctl: backupctl doctor compares them';
    default:
      return undefined;
  }
}

function connectionHint(message: string, { address, tls, tlsCa, tlsCert, tlsKey, token, tokenFile }: Settings): string {
  const at = address[0];
  if (/certificate|self.signed|altnames/i.test(message)) {
    return `see --tls-ca (whose signature counts), and that ${at} is a name in the certificate of the service`;
  }
  if (/ENOTFOUND|EAI_AGAIN|resolution failed/i.test(message)) return `see --address: nobody knows the name in ${at}`;
  if (/ECONNREFUSED/.test(message)) return `nothing listens on ${at}: does the service run? --address says where it is`;
  const secure = tls || tlsCa || tlsCert || tlsKey || token || tokenFile;
  const how = secure ? 'with TLS, as the flags say' : 'without TLS (with it: --tls-ca, or --tls)';
  return `is ${at} the service, and ${how}? --address says where it is`;
}

function again(ms = 1000): string {
  return `try again in ${durationText(ms)}`;
}
