import { strict as assert } from 'node:assert';
import { Authority } from '../../support/authority.ts';
import { eventually } from '../../support/eventually.ts';
import { Issuer } from '../../support/issuer.ts';
import { type Running, run } from '../../support/process.ts';
import { renewedToken, type Secured, startSecured } from '../../support/secured.ts';
import { append, finish, newBackup } from '../../support/writing.ts';

describe('Against a service that is secured,', () => {
  let authority: Authority;
  before(async () => {
    authority = await Authority.create();
  });

  it('the canary goes on over many tokens, from a file that is written anew, and calls nothing lost', async () => {
    const issuer = await Issuer.create();
    await using secured = await startSecured(authority, { issuer, settings: { TOKEN_SKEW: '1ms' } });
    using token = await renewedToken(secured, issuer, 'read work admin');
    await using canary = watch(secured, ['--token-file', token.path, '--rate', '20']);
    const tails = () => secured.lines().filter(({ method }) => method === 'backup.v1.LogService/TailLogs');
    await eventually(() => assert.ok(tails().length >= 3, `no tail was ended by its token: ${canary.output()}`));
    canary.child.kill('SIGINT');
    assert.equal(await canary.exit(), 0, canary.output());
    const { ok, written, replicas } = JSON.parse(canary.output().match(/^\{.*\}$/m)![0]);
    assert.ok(ok && written > 60, canary.output());
    assert.equal(replicas[0].delivered, written);
    assert.ok(!canary.output().includes('does not work'), canary.output());
  });

  it('the canary shows a certificate', async () => {
    await using secured = await startSecured(authority, { mutual: true });
    const { cert, key } = await authority.issue({ names: ['canary'] });
    const [certFile, keyFile] = [
      await secured.files.put('canary.crt', cert),
      await secured.files.put('canary.key', key),
    ];
    await using canary = watch(secured, ['--tls-cert', certFile, '--tls-key', keyFile, '--duration', '1s']);
    assert.equal(await canary.exit(), 0, canary.output());
    assert.ok(secured.lines().some(({ caller }) => caller === 'canary'));
  });

  it('the canary says which file it cannot read, and exits 2', async () => {
    await using secured = await startSecured(authority);
    await using canary = watch(secured, ['--token-file', '/nonexistent/token']);
    assert.equal(await canary.exit(), 2);
    assert.match(canary.output(), /ENOENT.*\/nonexistent\/token/);
  });

  it('the example of a tail goes on when its token expires', async () => {
    const issuer = await Issuer.create();
    await using secured = await startSecured(authority, { issuer, settings: { TOKEN_SKEW: '1ms' } });
    const lasting = secured.as({ token: await issuer.token('read write work', { lifetime: 600 }) });
    using token = await renewedToken(secured, issuer, 'read');
    const backupId = await newBackup(lasting);
    await append(lasting, backupId, ['the first line']);
    const env = { CLIENT_TLS_CA: secured.files.path('authority.crt'), CLIENT_TOKEN_FILE: token.path };
    await using tail = run('node', ['examples/tail.ts', addressOf(secured), backupId], env);
    await eventually(() => assert.match(tail.output(), /TOKEN_EXPIRED/));
    await append(lasting, backupId, ['the last line']);
    await finish(lasting, backupId);
    assert.equal(await tail.exit(), 0, tail.output());
    for (const line of ['the first line', 'the last line']) assert.equal(tail.output().split(line).length, 2);
  });
});

function watch(secured: Secured, args: string[]): Running {
  const ca = ['--tls-ca', secured.files.path('authority.crt')];
  const command = ['src/cli/main.ts', 'canary', '--address', addressOf(secured), ...ca, ...args];
  return run('node', command);
}

function addressOf({ replica }: Secured): string {
  return replica.address.replace('127.0.0.1', 'localhost');
}
