import { strict as assert } from 'node:assert';
import { Authority, type Wish } from '../../support/authority.ts';
import { Issuer } from '../../support/issuer.ts';
import { type Clients, type Secured, startSecured } from '../../support/secured.ts';
import { endsWith, refused } from '../../support/status.ts';
import { append, newBackupId } from '../../support/writing.ts';

describe('A client certificate', () => {
  let authority: Authority;
  before(async () => {
    authority = await Authority.create();
  });

  const named: [caller: string, wish: Wish][] = [
    ['spiffe://example.org/worker', { names: ['host.example.org', 'spiffe://example.org/worker'], commonName: 'cn' }],
    ['host.example.org', { names: ['ops@example.org', 'host.example.org', 'other.example.org'], commonName: 'cn' }],
    ['ops@example.org', { names: ['ops@example.org'], commonName: 'cn' }],
    // One name that reads like two.
    ['cn', { names: ['x, URI:spiffe://example.org/admin'], commonName: 'cn' }],
    ['night shift', { names: [], commonName: 'night shift' }],
  ];

  it('says who calls where there are no tokens: by its alternative name, else its common name', async () => {
    await using secured = await startSecured(authority, { mutual: true });
    for (const [caller, wish] of named) {
      await works(secured.as({ pair: await authority.issue(wish) }));
      assert.equal(callers(secured).at(-1), caller);
    }
  });

  it('without a name is nobody', async () => {
    await using secured = await startSecured(authority, { mutual: true });
    const nobody = secured.as({ pair: await authority.issue({ names: [] }) });
    await refused(works(nobody), { code: 'UNAUTHENTICATED', reason: 'UNAUTHENTICATED' });
  });

  it('may do everything, or what a setting says, and whoever is not named there nothing', async () => {
    const settings = { TLS_CLIENT_SCOPES: 'worker=read+work, dashboard=read' };
    await using secured = await startSecured(authority, { mutual: true, settings });
    const as = async (name: string) => secured.as({ pair: await authority.issue({ names: [name] }) });
    const [worker, dashboard, stranger] = await Promise.all(['worker', 'dashboard', 'stranger'].map(as));
    const read = ({ logs }: Clients) => logs.listLogs({ backupId: newBackupId() });
    const purge = ({ logs }: Clients) => logs.purgeLogs({ backupId: newBackupId() });
    const missing = { code: 'PERMISSION_DENIED', reason: 'SCOPE_MISSING' } as const;
    await works(worker!);
    await read(worker!);
    await refused(purge(worker!), missing);
    await read(dashboard!);
    await refused(works(dashboard!), missing);
    await refused(read(stranger!), missing);
    assert.deepEqual(callers(secured), ['worker', 'worker', 'worker', 'dashboard', 'dashboard', 'stranger']);
    await using open = await startSecured(authority, { mutual: true });
    await purge(open.as({ pair: await authority.issue({ names: ['anybody'] }) }));
  });

  it('is needed besides a token where there are both, and the token says who calls', async () => {
    const issuer = await Issuer.create();
    await using secured = await startSecured(authority, { mutual: true, issuer });
    const [pair, token] = [await authority.issue({ names: ['host'] }), await issuer.token('work')];
    await works(secured.as({ pair, token }));
    assert.deepEqual(callers(secured), ['night-shift']);
    await refused(works(secured.as({ pair })), { code: 'UNAUTHENTICATED', reason: 'UNAUTHENTICATED' });
    await endsWith(works(secured.as({ token })), 'UNAVAILABLE');
  });
});

function works({ logs }: Clients): Promise<unknown> {
  return append({ logs }, newBackupId(), ['hello']);
}

/** Who made the calls that are in the log. */
function callers(secured: Secured): unknown[] {
  return secured.lines().flatMap(({ msg, caller }) => (msg === 'call' ? [caller] : []));
}
