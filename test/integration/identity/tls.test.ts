import { strict as assert } from 'node:assert';
import { once } from 'node:events';
import { connect as connectTcp } from 'node:net';
import { connect as connectTls, type SecureVersion, type TLSSocket } from 'node:tls';
import { Authority } from '../../support/authority.ts';
import { startReplica } from '../../support/backend.ts';
import { createDatabase } from '../../support/database.ts';
import { eventually } from '../../support/eventually.ts';
import { type Clients, type Secured, startSecured, type Who } from '../../support/secured.ts';
import { endsWith } from '../../support/status.ts';
import { Subscriber } from '../../support/subscriber.ts';
import { append, newBackupId } from '../../support/writing.ts';

describe('TLS', () => {
  let authority: Authority;
  let stranger: Authority;
  before(async () => {
    [authority, stranger] = await Promise.all([Authority.create(), Authority.create('Stranger')]);
  });

  it('serves who trusts its authority, and nobody without TLS or below version 1.2', async () => {
    await using secured = await startSecured(authority);
    await works(secured.as({}));
    await endsWith(works(secured.as({ trusts: stranger })), 'UNAVAILABLE');
    await endsWith(works(secured.replica), 'UNAVAILABLE');
    await assert.rejects(handshake(secured, 'TLSv1.1'), /alert|unsupported|version/i);
    assert.equal(await handshake(secured, 'TLSv1.2'), 'TLSv1.2');
    assert.equal(await handshake(secured, 'TLSv1.3'), 'TLSv1.3');
  });

  it('asks for certificates of clients when it has their authority, and takes none but valid ones of it', async () => {
    await using secured = await startSecured(authority, { mutual: true });
    await works(secured.as({ pair: await authority.issue({ names: ['worker'] }) }));
    const hourAgo = new Date(Date.now() - 3_600_000);
    const refused: Who[] = [
      {},
      { pair: await stranger.issue({ names: ['worker'] }) },
      { pair: await authority.issue({ names: ['worker'], until: hourAgo }) },
    ];
    for (const who of refused) await endsWith(works(secured.as(who)), 'UNAVAILABLE');
  });

  it('takes a fresh certificate instead of an expired one without a restart', async () => {
    const pair = await authority.issue({ until: new Date(Date.now() - 1000) });
    await using secured = await startSecured(authority, { pair });
    assert.match(said(secured), /the certificate has expired at /);
    await endsWith(works(secured.as({})), 'UNAVAILABLE');
    await replace(secured, authority);
    await eventually(() => works(secured.as({})));
  });

  it('lets connections live on that are open, and shows new ones the new certificate', async () => {
    await using secured = await startSecured(authority);
    const old = secured.as({});
    const backupId = newBackupId();
    await using subscriber = new Subscriber(old, { backupIds: [backupId], follow: true });
    await subscriber.told('caughtUp');
    await replace(secured, stranger);
    await eventually(() => works(secured.as({ trusts: stranger })));
    await endsWith(works(secured.as({})), 'UNAVAILABLE');
    await append(old, backupId, ['on the old connection']);
    await subscriber.received(1);
    assert.deepEqual(subscriber.history.all('end'), []);
  });

  it('keeps what it has when new files are broken or only half there, says so once, and takes them when they are whole', async () => {
    await using secured = await startSecured(authority);
    const served = () => works(secured.as({}));
    const complaints = () => said(secured).match(/what was there before is served on/g)?.length ?? 0;
    await secured.files.put('tls.crt', 'no certificate');
    await eventually(() => assert.equal(complaints(), 1));
    await served();
    const fresh = await stranger.issue();
    await secured.files.put('tls.crt', fresh.cert);
    await eventually(() => assert.equal(complaints(), 2));
    assert.match(said(secured), /key values mismatch/);
    await served();
    await secured.files.put('tls.key', fresh.key);
    await eventually(() => works(secured.as({ trusts: stranger })));
    assert.equal(complaints(), 2);
  });

  it('takes new authorities of clients, and never those of the web', async () => {
    await using secured = await startSecured(authority, { mutual: true });
    const [known, unknown] = await Promise.all([authority.issue({ names: ['a'] }), stranger.issue({ names: ['b'] })]);
    await works(secured.as({ pair: known }));
    await secured.files.put('ca.crt', '');
    await eventually(() => assert.match(said(secured), /ca.crt has no certificate/));
    await works(secured.as({ pair: known }));
    await secured.files.put('ca.crt', stranger.pem);
    await eventually(() => works(secured.as({ pair: unknown })));
    await endsWith(works(secured.as({ pair: known })), 'UNAVAILABLE');
  });

  it('closes connections that do not come through the handshake in time, and serves others meanwhile', async () => {
    await using secured = await startSecured(authority);
    const port = Number(secured.replica.address.split(':')[1]);
    // A record of a handshake that announces 512 bytes, and has three.
    const partial = Buffer.of(22, 3, 1, 2, 0, 1, 0, 1);
    const silent = Array.from({ length: 100 }, (_, i) => {
      const socket = connectTcp({ host: 'localhost', port }, () => i % 2 && socket.write(partial));
      return socket.on('error', () => {}).resume();
    });
    await Promise.all(silent.map(socket => once(socket, 'connect')));
    const gone = Promise.all(silent.map(socket => once(socket, 'close')));
    await works(secured.as({}));
    await gone;
    await works(secured.as({}));
  });

  it('does not start on files that are not there or do not fit', async () => {
    await using secured = await startSecured(authority);
    await using database = await createDatabase();
    const { files } = secured;
    const [cert, key] = [files.path('tls.crt'), files.path('tls.key')];
    const other = await files.put('other.key', (await authority.issue()).key);
    const start = (settings: Record<string, string>) => startReplica(database.url, settings);
    await assert.rejects(start({ TLS_CERT: files.path('none'), TLS_KEY: key }), /ENOENT.*none/);
    await assert.rejects(start({ TLS_CERT: cert, TLS_KEY: other }), /tls.crt and .*other.key cannot serve: .*mismatch/);
    await assert.rejects(start({ TLS_CERT: cert, TLS_KEY: key, TLS_CLIENT_CA: other }), /other.key has no certificate/);
  });
});

async function works({ logs }: Pick<Clients, 'logs'>): Promise<void> {
  await append({ logs }, newBackupId(), ['hello']);
}

async function replace({ files }: Secured, authority: Authority): Promise<void> {
  const { cert, key } = await authority.issue();
  await files.put('tls.crt', cert);
  await files.put('tls.key', key);
}

function said(secured: Secured): string {
  return secured
    .lines()
    .map(({ msg }) => msg)
    .join('\n');
}

/** The version that both agree on when the client knows this one only. */
async function handshake({ replica, authority }: Secured, version: SecureVersion): Promise<string | null> {
  const port = Number(replica.address.split(':')[1]);
  const versions = { minVersion: version, maxVersion: version, ciphers: 'DEFAULT@SECLEVEL=0' };
  const socket: TLSSocket = connectTls({
    host: 'localhost',
    port,
    ca: authority.pem,
    ALPNProtocols: ['h2'],
    ...versions,
  });
  try {
    await once(socket, 'secureConnect');
    return socket.getProtocol();
  } finally {
    socket.destroy();
  }
}
