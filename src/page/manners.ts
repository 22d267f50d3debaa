import type { IncomingMessage, OutgoingHttpHeaders } from 'node:http';

/** What goes with every answer: nothing but the page's own files is loaded, nobody frames it, and nothing of it is kept by others. */
export const headers: OutgoingHttpHeaders = {
  'content-security-policy':
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types 'none'",
  'x-content-type-options': 'nosniff',
  'referrer-policy': 'no-referrer',
  'cross-origin-resource-policy': 'same-origin',
  'cross-origin-opener-policy': 'same-origin',
  'cache-control': 'no-store',
};

/**
 * Why a request is not answered, as a status; undefined when it is. Only reading is offered. The name by which a browser calls the service must be one of
 * `allowsHost`: the page of a stranger whose name was made to point here (DNS rebinding) would otherwise read it all. And no other page may have
 * its readers' browsers open streams.
 */
export function refusalOf(request: IncomingMessage, allowsHost: (host: string) => boolean): number | undefined {
  if (request.method !== 'GET' && request.method !== 'HEAD') return 405;
  if (!allowsHost(request.headers.host ?? '')) return 421;
  const { 'sec-fetch-site': site = 'none', 'sec-fetch-mode': mode } = request.headers;
  if (site !== 'none' && site !== 'same-origin' && mode !== 'navigate') return 403;
  return undefined;
}
