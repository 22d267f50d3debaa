import { ErrorReason, StatusError } from '../errors.ts';
import type { Arrival, Guard, Identity } from '../grpc/guard.ts';
import { type CertificateScopes, certificateName } from './certificate.ts';
import { SCOPES, scopeOf } from './scope.ts';
import type { TokenVerifier } from './token.ts';

/** What callers are known by: their tokens, or their certificates, whose owners may do everything if nothing is said of them. */
export type Proof = { tokens: TokenVerifier } | { certificates: CertificateScopes | 'all' };

/** Lets in who proves who he is and has the method's scope; to health everybody, if so wished. */
export function guard(proof: Proof, { openHealth }: { openHealth: boolean }): Guard {
  return method => {
    if (openHealth && method.parent.typeName === 'grpc.health.v1.Health') return undefined;
    const scope = scopeOf(method);
    if ('certificates' in proof) return call => byCertificate(call, scope, proof.certificates);
    const { tokens } = proof;
    return call => {
      const bearer = tokens.verify(tokenOf(call));
      return bearer instanceof Promise ? bearer.then(known => permitted(known, scope)) : permitted(bearer, scope);
    };
  };
}

function byCertificate(call: Arrival, scope: string, owners: CertificateScopes | 'all'): Identity {
  const caller = nameOf(call);
  if (!caller) throw new StatusError(ErrorReason.UNAUTHENTICATED, 'the client certificate has no name');
  return permitted({ caller, scopes: owners === 'all' ? SCOPES : (owners.get(caller) ?? NOTHING) }, scope);
}

/**
 * The certificate of a connection does not change, and grpc-js decodes it for every call anew: of a call that takes 300 µs that was 80. It has no
 * public way to its connection; where it has changed and the way is not found, every call decodes.
 */
function nameOf(call: Arrival): string | undefined {
  const { session } = (call as { call?: { stream?: { session?: object } } }).call?.stream ?? {};
  const known = session && names.get(session);
  if (known) return known;
  const certificate = call.getAuthContext().sslPeerCertificate;
  const name = certificate && certificateName(certificate);
  if (session && name) names.set(session, name);
  return name;
}

const names = new WeakMap<object, string>();

function tokenOf({ metadata }: Arrival): string {
  const [given, ...more] = metadata.get('authorization');
  const [, token] = (typeof given === 'string' && /^bearer +(\S+)$/i.exec(given)) || [];
  if (token && more.length === 0) return token;
  throw new StatusError(ErrorReason.UNAUTHENTICATED, 'the call needs a bearer token in its metadata "authorization"');
}

function permitted(identity: Identity & { scopes: ReadonlySet<string> }, scope: string): Identity {
  if (identity.scopes.has(scope)) return identity;
  const message = `the scope ${scope} is missing`;
  return { ...identity, refusal: new StatusError(ErrorReason.SCOPE_MISSING, message, { metadata: { scope } }) };
}

const NOTHING: ReadonlySet<string> = new Set();
