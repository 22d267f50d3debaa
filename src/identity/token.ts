import { hash } from 'node:crypto';
import { errors, type JWTPayload, jwtVerify } from 'jose';
import { ErrorReason, StatusError } from '../errors.ts';
import type { Keys } from './keys.ts';

export type TokenOptions = {
  issuer: string;
  audience: string;
  /** How far the issuer's clock and this one may be apart. */
  skewMs: number;
  /** After which time a token is verified again: its key may have been withdrawn. */
  refreshMs: number;
};

/** What a token that was verified says. */
export type Bearer = { readonly caller: string; readonly scopes: ReadonlySet<string>; readonly until: number };

/** Verifies bearer tokens, each once and then from time to time: a signature takes a quarter of a millisecond, to find it again 2 µs. */
export class TokenVerifier {
  readonly #keys: Keys;
  readonly #options: TokenOptions;
  // By hash: what is in memory can be read in a heap dump.
  readonly #known = new Map<string, { bearer: Bearer; again: number }>();
  readonly #pending = new Map<string, Promise<Bearer>>();

  constructor(keys: Keys, options: TokenOptions) {
    this.#keys = keys;
    this.#options = options;
  }

  /** At once for a token that is known. UNAUTHENTICATED, TOKEN_EXPIRED or KEYS_UNAVAILABLE. */
  verify(token: string): Bearer | Promise<Bearer> {
    const key = hash('sha256', token, 'base64');
    const known = this.#known.get(key);
    if (known && Date.now() < known.again) return known.bearer;
    let pending = this.#pending.get(key);
    if (!pending) {
      pending = this.#verify(key, token).finally(() => this.#pending.delete(key));
      this.#pending.set(key, pending);
    }
    return pending;
  }

  async #verify(key: string, token: string): Promise<Bearer> {
    const { issuer, audience, skewMs, refreshMs } = this.#options;
    this.#known.delete(key);
    const bearer = await jwtVerify(token, this.#keys.find, {
      algorithms: ASYMMETRIC,
      issuer,
      audience,
      clockTolerance: skewMs / 1000,
      requiredClaims: ['exp', 'sub'],
    }).then(({ payload }) => toBearer(payload, skewMs), refuse);
    if (this.#known.size >= MOST_KNOWN) this.#known.delete(this.#known.keys().next().value!);
    this.#known.set(key, { bearer, again: Math.min(bearer.until, Date.now() + refreshMs) });
    return bearer;
  }
}

/** Those that need no secret here. */
const ASYMMETRIC = [
  ...['RS256', 'RS384', 'RS512', 'PS256', 'PS384', 'PS512'],
  ...['ES256', 'ES384', 'ES512', 'EdDSA', 'Ed25519'],
];

const MOST_KNOWN = 10_000;

function toBearer({ sub = '', exp = 0, scope, scp }: JWTPayload, skewMs: number): Bearer {
  if (!/^[\x20-\x7e]{1,255}$/.test(sub)) throw unauthenticated('its subject is not 1 to 255 ASCII characters');
  const scopes = [scope, scp].flat().flatMap(text => (typeof text === 'string' ? text.split(' ') : []));
  return { caller: sub, scopes: new Set(scopes), until: exp * 1000 + skewMs };
}

/** jose's errors carry the claims of the token, so none of them is a cause that goes into the log. */
function refuse(error: unknown): never {
  if (error instanceof StatusError) throw error;
  if (error instanceof errors.JWTExpired) throw new StatusError(ErrorReason.TOKEN_EXPIRED, 'the token has expired');
  if (error instanceof errors.JWTClaimValidationFailed)
    throw unauthenticated(CLAIMS[error.claim] ?? 'a claim is wrong');
  if (error instanceof errors.JWKSNoMatchingKey) throw unauthenticated('no key that is known here has signed it');
  if (error instanceof errors.JWKSMultipleMatchingKeys)
    throw unauthenticated('it does not say which key has signed it');
  if (error instanceof errors.JWSSignatureVerificationFailed) throw unauthenticated('its signature is wrong');
  if (error instanceof errors.JOSEAlgNotAllowed) throw unauthenticated('its algorithm is not accepted');
  throw unauthenticated('it cannot be read');
}

const CLAIMS: Record<string, string> = {
  iss: 'it is of another issuer',
  aud: 'it is for another audience',
  nbf: 'it is not valid yet',
  exp: 'it has no time of expiry',
  sub: 'it has no subject',
};

function unauthenticated(why: string): StatusError {
  return new StatusError(ErrorReason.UNAUTHENTICATED, `the token is not accepted: ${why}`);
}
