import { randomUUID, type webcrypto } from 'node:crypto';
import { once } from 'node:events';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { exportJWK, generateKeyPair, type JWK, type JWTPayload, SignJWT } from 'jose';

export const ISSUER = 'https://id.example.org';
export const AUDIENCE = 'backup';

/** Settings of a service that takes the tokens of an issuer whose keys are there. */
export function tokenSettings(jwks: string): Record<string, string> {
  return { TOKEN_JWKS: jwks, TOKEN_ISSUER: ISSUER, TOKEN_AUDIENCE: AUDIENCE };
}

/** What a token says besides and instead of the usual, where `undefined` is nothing; times in seconds from now. */
export type Claims = { lifetime?: number; starts?: number } & { [claim: string]: unknown };

/** Who signs tokens, with the newest of its keys. */
export class Issuer {
  readonly #keys: { kid: string; alg: string; privateKey: webcrypto.CryptoKey; jwk: JWK }[] = [];

  static async create(alg = 'ES256'): Promise<Issuer> {
    const issuer = new Issuer();
    await issuer.rotate(alg);
    return issuer;
  }

  async rotate(alg = 'ES256'): Promise<void> {
    const { privateKey, publicKey } = await generateKeyPair(alg, { extractable: true });
    const kid = randomUUID();
    this.#keys.unshift({ kid, alg, privateKey, jwk: { ...(await exportJWK(publicKey)), kid, alg, use: 'sig' } });
  }

  /** Without what was signed with all keys but the newest. */
  withdraw(): void {
    this.#keys.splice(1);
  }

  get newest(): JWK {
    return this.#keys[0]!.jwk;
  }

  get jwks(): string {
    return JSON.stringify({ keys: this.#keys.map(({ jwk }) => jwk) });
  }

  /** A token of `night-shift` with these scopes, for a minute. */
  async token(scope: string, { lifetime = 60, starts = 0, ...claims }: Claims = {}): Promise<string> {
    const { kid, alg, privateKey } = this.#keys[0]!;
    const now = Math.floor(Date.now() / 1000);
    const usual = { iss: ISSUER, aud: AUDIENCE, sub: 'night-shift', iat: now, nbf: now + starts, exp: now + lifetime };
    const all: JWTPayload = { ...usual, ...(scope && { scope }), ...claims };
    return new SignJWT(all).setProtectedHeader({ alg, kid }).sign(privateKey);
  }
}

/** The keys of an issuer at a URL, which can be switched off or made to hang, and how often they were asked for. */
export type KeyServer = AsyncDisposable & { readonly url: string; available: boolean; hangs: boolean; asked: number };

export async function serveKeys(issuer: Issuer): Promise<KeyServer> {
  const server = createServer((_, response) => {
    keys.asked++;
    if (keys.hangs) return;
    if (keys.available) response.setHeader('content-type', 'application/json').end(issuer.jwks);
    else response.writeHead(503).end();
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const keys: KeyServer = {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}/jwks`,
    available: true,
    hangs: false,
    asked: 0,
    async [Symbol.asyncDispose]() {
      server.closeAllConnections();
      server.close();
      await once(server, 'close');
    },
  };
  return keys;
}
