import type { ServerCredentials } from '@grpc/grpc-js';
import type { Guard } from '../grpc/guard.ts';
import type { CertificateScopes } from './certificate.ts';
import { missingFor } from './exposure.ts';
import { guard, type Proof } from './guard.ts';
import { openKeys } from './keys.ts';
import { openTls, type Say, type TlsFiles } from './tls.ts';
import { type TokenOptions, TokenVerifier } from './token.ts';

export type SecurityOptions = {
  /** Host and port that are served on. */
  address: string;
  /** Absent: no TLS. */
  tls: TlsFiles | undefined;
  /** How often to look whether the files have changed. */
  tlsLookMs: number;
  /** What client certificates may do where there are no tokens; absent: everything. */
  clientScopes: CertificateScopes | undefined;
  /** Absent: no tokens. */
  tokens: (TokenOptions & { jwks: string }) | undefined;
  /** Whether health needs no token. */
  openHealth: boolean;
};

/** How a replica proves who it is and asks who calls. Without a guard everybody may do everything. */
export async function openSecurity(
  { address, tls: files, tokens: options, ...wishes }: SecurityOptions,
  say: Say,
): Promise<AsyncDisposable & { credentials: ServerCredentials | undefined; guard: Guard | undefined }> {
  await using opening = new AsyncDisposableStack();
  const missing = missingFor(address, { tls: !!files, clientCa: !!files?.clientCa, tokens: !!options });
  if (missing.length > 0) say.warn(`${address} is insecure, as INSECURE=on allows: without ${missing.join('; and ')}`);
  const tls = files && opening.use(await openTls(files, { lookMs: wishes.tlsLookMs, say }));
  let proof: Proof | undefined;
  if (options) {
    const { jwks, refreshMs } = options;
    const keys = opening.use(await openKeys(jwks, { refreshMs, warn: message => say.warn(message) }));
    proof = { tokens: new TokenVerifier(keys, options) };
  } else if (files?.clientCa) {
    proof = { certificates: wishes.clientScopes ?? 'all' };
  }
  const open = opening.move();
  return {
    credentials: tls?.credentials,
    guard: proof && guard(proof, wishes),
    [Symbol.asyncDispose]: () => open.disposeAsync(),
  };
}
