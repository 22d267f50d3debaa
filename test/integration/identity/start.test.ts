import { strict as assert } from 'node:assert';
import { Authority, Files } from '../../support/authority.ts';
import { clients, connect } from '../../support/backend.ts';
import { createDatabase, type Database } from '../../support/database.ts';
import { Issuer, tokenSettings } from '../../support/issuer.ts';
import { ready, run } from '../../support/process.ts';
import { refused } from '../../support/status.ts';
import { append, newBackupId } from '../../support/writing.ts';

describe('npm start, where others can connect,', () => {
  let database: Database;
  before(async () => {
    database = await createDatabase();
  });
  after(() => database[Symbol.asyncDispose]());

  const start = (settings: Record<string, string>) =>
    run('npm', ['start'], { DATABASE_URL: database.url, LISTEN: '0.0.0.0:0', ...settings });

  it('does not serve without security, and says which settings are missing', async () => {
    await using service = start({});
    assert.equal(await service.exit(), 1);
    assert.match(
      service.output(),
      /LISTEN=0.0.0.0:0: .*TLS_CERT and TLS_KEY; .*TOKEN_JWKS.*TLS_CLIENT_CA; or INSECURE=on/,
    );
    assert.ok(!service.output().includes('serves'));
  });

  it('serves when it is told to, and warns', async () => {
    await using service = start({ INSECURE: 'on' });
    const channel = connect((await ready(service)).replace('0.0.0.0', '127.0.0.1'));
    await append(clients(channel), newBackupId(), ['hello']);
    channel.close();
    assert.match(service.output(), /0.0.0.0:0 is insecure, as INSECURE=on allows/);
  });

  it('asks for tokens all the same when only TLS is missing', async () => {
    using files = new Files();
    const issuer = await Issuer.create();
    await using service = start({ ...tokenSettings(await files.put('keys.json', issuer.jwks)), INSECURE: 'on' });
    const channel = connect((await ready(service)).replace('0.0.0.0', '127.0.0.1'));
    const { logs } = clients(channel);
    const call = append({ logs }, newBackupId(), ['hello']);
    await refused(call, { code: 'UNAUTHENTICATED', reason: 'UNAUTHENTICATED' });
    const metadata = { authorization: `Bearer ${await issuer.token('read')}` };
    await logs.listLogs({ backupId: newBackupId() }, { metadata });
    channel.close();
  });

  it('serves with TLS and client certificates without a word', async () => {
    using files = new Files();
    const authority = await Authority.create();
    const { cert, key } = await authority.issue();
    await using service = start({
      TLS_CERT: await files.put('tls.crt', cert),
      TLS_KEY: await files.put('tls.key', key),
      TLS_CLIENT_CA: await files.put('ca.crt', authority.pem),
    });
    await ready(service);
    assert.ok(!service.output().includes('insecure'));
  });
});
