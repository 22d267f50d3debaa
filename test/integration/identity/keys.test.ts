import { strict as assert } from 'node:assert';
import { mock } from 'node:test';
import { Authority } from '../../support/authority.ts';
import { eventually } from '../../support/eventually.ts';
import { Issuer, serveKeys, tokenSettings } from '../../support/issuer.ts';
import { type Clients, type Secured, startSecured } from '../../support/secured.ts';
import { refused } from '../../support/status.ts';
import { append, newBackupId } from '../../support/writing.ts';

const UNAVAILABLE = { code: 'UNAVAILABLE', reason: 'KEYS_UNAVAILABLE' } as const;
const UNAUTHENTICATED = { code: 'UNAUTHENTICATED', reason: 'UNAUTHENTICATED' } as const;

describe('The keys of tokens', () => {
  let authority: Authority;
  before(async () => {
    authority = await Authority.create();
  });

  it('may be rotated in their file, without a restart and without a break for the old ones', async () => {
    const issuer = await Issuer.create();
    await using secured = await startSecured(authority, { issuer, settings: { TOKEN_REFRESH: '100ms' } });
    const old = await issuer.token('work');
    await works(secured, old);
    await issuer.rotate();
    await secured.files.put('keys.json', issuer.jwks);
    const fresh = await issuer.token('work');
    await eventually(() => works(secured, fresh));
    await works(secured, old);
  });

  it('stop to count when they are withdrawn, also for a token that was accepted before', async () => {
    const issuer = await Issuer.create();
    await using keys = await serveKeys(issuer);
    const settings = { ...tokenSettings(keys.url), TOKEN_REFRESH: '100ms' };
    await using secured = await startSecured(authority, { settings });
    const client = secured.as({ token: await issuer.token('work') });
    await append(client, newBackupId(), ['before']);
    await issuer.rotate();
    issuer.withdraw();
    await eventually(() => refused(append(client, newBackupId(), ['after']), UNAUTHENTICATED));
    await works(secured, await issuer.token('work'));
  });

  it('are asked for at once when a new one has signed, but not for every token that names one', async () => {
    const issuer = await Issuer.create();
    await using keys = await serveKeys(issuer);
    // After an hour by itself: what is seen before that was asked for.
    await using secured = await startSecured(authority, {
      settings: { ...tokenSettings(keys.url), TOKEN_REFRESH: '1h' },
    });
    await works(secured, await issuer.token('work'));
    const asked = keys.asked;
    const stranger = await Issuer.create();
    const forged = await Promise.all(Array.from({ length: 20 }, (_, i) => stranger.token('work', { jti: `${i}` })));
    await Promise.all(forged.map(token => refused(works(secured, token), UNAUTHENTICATED)));
    assert.ok(keys.asked <= asked + 1, `asked ${keys.asked - asked} times for 20 forged tokens`);
    await issuer.rotate();
    const fresh = await issuer.token('work');
    await eventually(() => works(secured, fresh));
  });

  it('that cannot be had let nobody pass, and everybody again when they can', async () => {
    const issuer = await Issuer.create();
    await using keys = await serveKeys(issuer);
    keys.available = false;
    const settings = { ...tokenSettings(keys.url), TOKEN_REFRESH: '100ms' };
    await using secured = await startSecured(authority, { settings });
    const token = await issuer.token('work');
    const { retry } = await refused(works(secured, token), UNAVAILABLE);
    assert.equal(retry?.retryDelay?.seconds, 1n);
    await refused(works(secured, await (await Issuer.create()).token('work')), UNAVAILABLE);
    await eventually(() => assert.match(said(secured), /the keys of http.* cannot be read/));
    keys.available = true;
    await works(secured, token);
    await eventually(() => assert.match(said(secured), /can be read again/));
  });

  it('that are known serve on while their source is away, and others are UNAVAILABLE, not forged', async () => {
    await using known = await startWithoutSource(authority);
    const { issuer, keys, secured } = known;
    await works(secured, await issuer.token('work', { jti: 'a new token' }));
    await issuer.rotate();
    await eventually(async () => refused(works(secured, await issuer.token('work')), UNAVAILABLE));
    keys.available = true;
    await works(secured, await issuer.token('work'));
  });

  it('that are known serve on for an hour, and no longer', async () => {
    await using known = await startWithoutSource(authority);
    const { issuer, secured } = known;
    const token = await issuer.token('work', { lifetime: 7200 });
    const inMinutes = async (minutes: number, work: () => Promise<unknown>) => {
      mock.timers.enable({ apis: ['Date'], now: Date.now() + minutes * 60_000 });
      try {
        await work();
      } finally {
        mock.timers.reset();
      }
    };
    await inMinutes(59, () => works(secured, token));
    await inMinutes(61, () => refused(works(secured, token), UNAVAILABLE));
  });

  it('that do not come are not waited for longer than 3 s', async () => {
    const issuer = await Issuer.create();
    await using keys = await serveKeys(issuer);
    keys.hangs = true;
    await using secured = await startSecured(authority, {
      settings: { ...tokenSettings(keys.url), TOKEN_REFRESH: '1h' },
    });
    // Whoever starts the service has asked for them first, so it may be less than that.
    const began = performance.now();
    await refused(works(secured, await issuer.token('work')), UNAVAILABLE);
    const waited = performance.now() - began;
    assert.ok(waited < 6_000, `${waited} ms`);
    keys.hangs = false;
    await works(secured, await issuer.token('work'));
  });

  it('have to be there at the start when they are in a file', async () => {
    const settings = tokenSettings('/nonexistent/keys.json');
    await assert.rejects(startSecured(authority, { settings }), /ENOENT.*\/nonexistent\/keys.json/);
  });

  it('leave calls of one connection in their order while a token is looked at for the first time', async () => {
    const issuer = await Issuer.create();
    await using secured = await startSecured(authority, { issuer });
    const client: Clients = secured.as({ token: await issuer.token('read work') });
    const backupId = newBackupId();
    await Promise.all(Array.from({ length: 50 }, (_, i) => append(client, backupId, [`line ${i}`])));
    const { entries } = await client.logs.listLogs({ backupId });
    assert.deepEqual(
      entries.map(({ message }) => message),
      Array.from({ length: 50 }, (_, i) => `line ${i}`),
    );
  });
});

/** A service that knows the keys of an issuer, and cannot read them any more. */
async function startWithoutSource(authority: Authority) {
  await using starting = new AsyncDisposableStack();
  const issuer = await Issuer.create();
  const keys = starting.use(await serveKeys(issuer));
  const settings = { ...tokenSettings(keys.url), TOKEN_REFRESH: '100ms' };
  const secured = starting.use(await startSecured(authority, { settings }));
  await works(secured, await issuer.token('work'));
  keys.available = false;
  await eventually(() => assert.match(said(secured), /cannot be read: Expected 200 OK/));
  const open = starting.move();
  return { issuer, keys, secured, [Symbol.asyncDispose]: () => open.disposeAsync() };
}

function works(secured: Secured, token: string): Promise<unknown> {
  return append(secured.as({ token }), newBackupId(), ['hello']);
}

function said(secured: Secured): string {
  return secured
    .lines()
    .map(({ msg }) => msg)
    .join('\n');
}
