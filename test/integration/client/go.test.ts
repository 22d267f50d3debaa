import { strict as assert } from 'node:assert';
import { execFileSync, spawnSync } from 'node:child_process';
import { existsSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Authority } from '../../support/authority.ts';
import { startBackend } from '../../support/backend.ts';
import { Cable } from '../../support/cable.ts';
import { eventually } from '../../support/eventually.ts';
import { Issuer } from '../../support/issuer.ts';
import { repository, run } from '../../support/process.ts';
import { renewedToken, startSecured } from '../../support/secured.ts';
import { append, finish, newBackup } from '../../support/writing.ts';

const go = spawnSync('go', ['version']).status === 0 && existsSync('/usr/share/gocode/src/google.golang.org/grpc');

if (go) {
  describe('examples/go', () => {
    let folder: string;
    let tail: string;

    before(() => {
      folder = mkdtempSync(join(tmpdir(), 'go-'));
      tail = join(folder, 'tail');
      const env = { ...process.env, GO111MODULE: 'off', GOPATH: '/usr/share/gocode' };
      execFileSync('go', ['build', '-o', tail, '.'], { cwd: join(repository, 'examples/go'), env, stdio: 'inherit' });
    });
    after(() => rmSync(folder, { recursive: true }));

    it('tails logs until their runs have finished, each entry once, over connections that break', async () => {
      await using backend = await startBackend();
      await using cable = await Cable.start(new URL(`http://${backend.address}`));
      const [first, second] = [await newBackup(backend), await newBackup(backend)];
      await using tailing = run(tail, [`127.0.0.1:${cable.port}`, first, second]);
      for (let i = 1; i <= 30; i++) {
        for (const id of [first, second]) await append(backend, id, [`line ${i}`]);
        if (i % 10 !== 0) continue;
        await eventually(() => assert.equal(entriesOf(tailing.output()).length, 2 * i));
        cable.cut();
      }
      for (const id of [first, second]) await finish(backend, id);
      assert.equal(await tailing.exit(), 0, tailing.output());
      for (const id of [first, second]) {
        const lines = entriesOf(tailing.output()).filter(line => line.startsWith(id));
        assert.deepEqual(
          lines,
          Array.from({ length: 30 }, (_, i) => `${id} ${i + 1} LOG_LEVEL_INFO "line ${i + 1}"`),
        );
      }
      assert.match(tailing.output(), /REASON_SEALED/);
    });

    it('knows TLS, and goes on when its token expires', async () => {
      const [issuer, authority] = [await Issuer.create(), await Authority.create()];
      await using secured = await startSecured(authority, { issuer, settings: { TOKEN_SKEW: '1ms' } });
      const lasting = secured.as({ token: await issuer.token('read write work', { lifetime: 600 }) });
      using token = await renewedToken(secured, issuer, 'read');
      const backupId = await newBackup(lasting);
      await append(lasting, backupId, ['the first line']);
      const env = { CLIENT_TLS_CA: secured.files.path('authority.crt'), CLIENT_TOKEN_FILE: token.path };
      await using tailing = run(tail, [secured.replica.address.replace('127.0.0.1', 'localhost'), backupId], env);
      await eventually(() => assert.match(tailing.output(), /TOKEN_EXPIRED/));
      await append(lasting, backupId, ['the last line']);
      await finish(lasting, backupId);
      assert.equal(await tailing.exit(), 0, tailing.output());
      assert.equal(entriesOf(tailing.output()).length, 2, tailing.output());
    });
  });
} else {
  console.error(
    '\n*** There is no Go with gRPC here: examples/go ARE NOT TESTED (apt-get install golang-go golang-google-grpc-dev golang-google-protobuf-dev) ***\n',
  );
}

function entriesOf(output: string): string[] {
  return output.split('\n').filter(line => line.includes(' LOG_LEVEL_'));
}
