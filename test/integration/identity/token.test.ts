import { strict as assert } from 'node:assert';
import { createPublicKey, type JsonWebKey } from 'node:crypto';
import { SignJWT, UnsecuredJWT } from 'jose';
import { Authority } from '../../support/authority.ts';
import { AUDIENCE, type Claims, ISSUER, Issuer } from '../../support/issuer.ts';
import { type Clients, type Secured, startSecured } from '../../support/secured.ts';
import { refused } from '../../support/status.ts';
import { append, newBackupId } from '../../support/writing.ts';

describe('A bearer token', () => {
  let secured: Secured;
  let issuer: Issuer;
  before(async () => {
    issuer = await Issuer.create();
    secured = await startSecured(await Authority.create(), { issuer, settings: { TOKEN_SKEW: '5s' } });
  });
  after(() => secured[Symbol.asyncDispose]());

  const withToken = (token: string) => works(secured.as({ token }));
  const unauthenticated = async (call: Promise<void>, why: RegExp, reason: 'UNAUTHENTICATED' | 'TOKEN_EXPIRED') => {
    const { message } = await refused(call, { code: 'UNAUTHENTICATED', reason });
    assert.match(message, why);
  };

  it('of the issuer is accepted, with its scopes in any of the three forms', async () => {
    await withToken(await issuer.token('work'));
    await withToken(await issuer.token('openid work read'));
    await withToken(await issuer.token('', { scp: 'read work' }));
    await withToken(await issuer.token('', { scp: ['read', 'work'] }));
  });

  it('may be signed by any asymmetric algorithm', async () => {
    for (const alg of ['RS256', 'PS256', 'ES384', 'EdDSA']) {
      const other = await Issuer.create(alg);
      await using one = await startSecured(secured.authority, { issuer: other });
      await works(one.as({ token: await other.token('work') }));
    }
  });

  const wrongClaims: [what: string, claims: Claims, why: RegExp, reason?: 'TOKEN_EXPIRED'][] = [
    ['has expired', { lifetime: -6 }, /has expired/, 'TOKEN_EXPIRED'],
    ['is not valid yet', { starts: 10 }, /not valid yet/],
    ['never expires', { exp: undefined }, /no time of expiry/],
    ['has no subject', { sub: undefined }, /no subject/],
    ['has an empty subject', { sub: '' }, /subject is not/],
    ['has a subject that would forge lines of a log', { sub: 'a\nb' }, /subject is not/],
    ['is of another issuer', { iss: 'https://id.example.com' }, /another issuer/],
    ['is of no issuer', { iss: undefined }, /another issuer/],
    ['is for another audience', { aud: 'mail' }, /another audience/],
    ['is for nobody', { aud: undefined }, /another audience/],
  ];
  for (const [what, claims, why, reason = 'UNAUTHENTICATED'] of wrongClaims) {
    it(`that ${what} is not accepted`, async () => {
      await unauthenticated(withToken(await issuer.token('work', claims)), why, reason);
    });
  }

  it('may be as far out of time as clocks may be apart', async () => {
    await withToken(await issuer.token('work', { lifetime: -3 }));
    await withToken(await issuer.token('work', { starts: 3 }));
  });

  it('is accepted for one of several audiences', async () => {
    await withToken(await issuer.token('work', { aud: ['mail', AUDIENCE] }));
  });

  it('without a signature, or signed with the public key as a secret, is not accepted', async () => {
    const claims = { iss: ISSUER, aud: AUDIENCE, sub: 'night-shift', scope: 'work', exp: Date.now() / 1000 + 60 };
    const none = new UnsecuredJWT(claims).encode();
    await unauthenticated(withToken(none), /algorithm is not accepted/, 'UNAUTHENTICATED');
    const { kid } = issuer.newest;
    const pem = createPublicKey({ key: issuer.newest as JsonWebKey, format: 'jwk' }).export({
      type: 'spki',
      format: 'pem',
    });
    for (const secret of [pem as string, JSON.stringify(issuer.newest), issuer.newest.x!]) {
      const forged = await new SignJWT(claims)
        .setProtectedHeader({ alg: 'HS256', kid: kid! })
        .sign(Buffer.from(secret));
      await unauthenticated(withToken(forged), /algorithm is not accepted/, 'UNAUTHENTICATED');
    }
  });

  it('of a key that is not known, or that was changed on the way, is not accepted', async () => {
    const stranger = await Issuer.create();
    await unauthenticated(withToken(await stranger.token('work')), /no key that is known/, 'UNAUTHENTICATED');
    const [header, , signature] = (await issuer.token('read')).split('.');
    const [, payload] = (await issuer.token('read work admin')).split('.');
    await unauthenticated(withToken(`${header}.${payload}.${signature}`), /signature is wrong/, 'UNAUTHENTICATED');
    const [otherHeader] = (await stranger.token('work')).split('.');
    await unauthenticated(withToken(`${otherHeader}.${payload}.${signature}`), /no key/, 'UNAUTHENTICATED');
  });

  it('is needed, once, and as one', async () => {
    const { logs } = secured.as({});
    const good = await issuer.token('work');
    const call = (authorization?: string) =>
      logs.appendLogs({ backupId: newBackupId(), entries: [] }, authorization ? { metadata: { authorization } } : {});
    for (const bad of [
      undefined,
      'Bearer',
      good,
      `Basic ${good}`,
      `Bearer ${good} x`,
      `Bearer ${good},Bearer ${good}`,
    ]) {
      const { message } = await refused(call(bad), { code: 'UNAUTHENTICATED', reason: 'UNAUTHENTICATED' });
      assert.match(message, /needs a bearer token/);
    }
    await unauthenticated(withToken('a.b.c'), /cannot be read/, 'UNAUTHENTICATED');
    await refused(call(`bearer  ${good}`), { code: 'INVALID_ARGUMENT', reason: 'INVALID_FIELD' });
  });

  it('is not in the log, nor anything that it claims but who calls', async () => {
    const claims = { email: 'night@example.org', jti: 'very-unique' };
    const tokens = [
      await issuer.token('work', claims),
      await issuer.token('read', claims),
      await issuer.token('work', { ...claims, lifetime: -60 }),
      await issuer.token('work', { ...claims, aud: 'mail' }),
      await (await Issuer.create()).token('work', claims),
    ];
    for (const token of tokens) await withToken(token).catch(() => {});
    const log = JSON.stringify(secured.lines());
    for (const token of tokens)
      for (const part of token.split('.')) assert.ok(!log.includes(part), 'a token is logged');
    for (const claim of Object.values(claims)) assert.ok(!log.includes(claim), `${claim} is logged`);
    const calls = secured.lines().slice(-tokens.length);
    const address = '127.0.0.1';
    assert.deepEqual(
      calls.map(({ code, caller }) => [code, caller]),
      [
        ['OK', 'night-shift'],
        ['PERMISSION_DENIED', 'night-shift'],
        ['UNAUTHENTICATED', address],
        ['UNAUTHENTICATED', address],
        ['UNAUTHENTICATED', address],
      ],
    );
  });
});

async function works({ logs }: Pick<Clients, 'logs'>): Promise<void> {
  await append({ logs }, newBackupId(), ['hello']);
}
