import { strict as assert } from 'node:assert';
import { once } from 'node:events';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createServer, type Server } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Authority } from '../../support/authority.ts';
import { type Backend, startBackend } from '../../support/backend.ts';
import { backupctl } from '../../support/backupctl.ts';
import { Issuer } from '../../support/issuer.ts';
import { type Running, repository, run } from '../../support/process.ts';
import { type Secured, startSecured } from '../../support/secured.ts';

describe('backupctl', () => {
  // A process for every command, and several processors' worth of other tests beside it.
  let backend: Backend;
  let here: { BACKUPCTL_ADDRESS: string };
  before(async () => {
    backend = await startBackend();
    here = { BACKUPCTL_ADDRESS: backend.address };
    await backend.courses.upsertCourses({
      courses: Array.from({ length: 1000 }, (_, i) => ({ courseId: BigInt(i + 1) })),
    });
  });
  after(() => backend[Symbol.asyncDispose]());

  it('says its version, and what it is called wrongly for with 2', async () => {
    const { version } = JSON.parse(readFileSync(join(repository, 'package.json'), 'utf8'));
    assert.deepEqual(await backupctl(['--version']), { code: 0, stdout: `${version}\n`, stderr: '' });
    assert.equal((await backupctl(['--help'])).code, 0);
    for (const [args, message] of [
      [['courses', 'get', 'x'], /^error: .*must be a whole number, 1 or more\n\(--help tells more\)\n$/],
      [['courses', 'report', '--unknown'], /^error: unknown option '--unknown'/],
      [['coursse'], /^error: unknown command 'coursse'/],
      [['summary', '--output', 'xml'], /must be one of table, json, yaml/],
      [['summary', '--context', 'x'], /^error: there is no context x: /],
    ] as const) {
      const { code, stdout, stderr } = await backupctl([...args]);
      assert.equal(code, 2, stderr);
      assert.match(stderr, message);
      assert.equal(stdout, '');
    }
  });

  it('takes its options before and after the command, and the nearest counts', async () => {
    const { code, stdout } = await backupctl([
      '-o',
      'json',
      '--address',
      'nowhere:1',
      'courses',
      'get',
      '7',
      '--address',
      backend.address,
    ]);
    assert.equal(code, 0);
    assert.equal(JSON.parse(stdout).courseId, '7');
  });

  it('takes the first of several addresses that is there', async () => {
    const { code, stderr } = await backupctl(['courses', 'get', '7', '--address', `127.0.0.1:1,${backend.address}`]);
    assert.equal(code, 0, stderr);
  });

  it('says in one line what was refused and why, and how to mend it', async () => {
    const missing = await backupctl(['courses', 'get', '99999'], here);
    assert.deepEqual(missing, {
      code: 3,
      stdout: '',
      stderr: 'error: NOT_FOUND (COURSE_NOT_FOUND): there is no course 99999\n',
    });
    const nobody = await backupctl(['summary', '--address', '127.0.0.1:1']);
    assert.deepEqual(nobody, {
      code: 5,
      stdout: '',
      stderr:
        'error: UNAVAILABLE: connect ECONNREFUSED 127.0.0.1:1\n' +
        'hint: nothing listens on 127.0.0.1:1: does the service run? --address says where it is\n',
    });
    const silent = await listening();
    try {
      const { port } = silent.address() as { port: number };
      const late = await backupctl(['courses', 'get', '1', '--address', `127.0.0.1:${port}`, '--timeout', '500ms']);
      assert.equal(late.code, 5);
      assert.match(late.stderr, /^error: DEADLINE_EXCEEDED: .*\nhint: nothing came within 500ms \(--timeout\)/);
    } finally {
      silent.close();
    }
  });

  it('has colours where they are forced, and none in a pipe', async () => {
    const args = ['courses', 'report', '--limit', '1'];
    const plain = await backupctl(args, here);
    assert.ok(!plain.stdout.includes('\u001b'));
    assert.match(plain.stdout, /NOT YET RUN/);
    const forced = await backupctl(args, { ...here, FORCE_COLOR: '1' });
    assert.ok(forced.stdout.includes('\u001b[2mNOT YET RUN\u001b[22m'));
    const json = await backupctl([...args, '-o', 'json'], { ...here, FORCE_COLOR: '1' });
    assert.equal(JSON.parse(json.stdout).courses.length, 1);
  });

  it('ends quietly when nobody reads any more, and when it is told to end', async () => {
    const command = `node src/cli/backupctl.ts courses report -o yaml; echo "code $?" >&2`;
    await using piped = run('bash', ['-c', `(${command}) | head -n 1`], here);
    assert.equal(await piped.exit(), 0);
    assert.equal(piped.output(), 'courses:\ncode 0\n');
    const silent = await listening();
    const { port } = silent.address() as { port: number };
    try {
      for (const [signal, expected] of [
        ['SIGINT', 130],
        ['SIGTERM', 143],
      ] as const) {
        const connected = new Promise(resolve => silent.once('connection', resolve));
        await using waiting: Running = run('node', [
          'src/cli/backupctl.ts',
          'summary',
          '--address',
          `127.0.0.1:${port}`,
        ]);
        await connected;
        waiting.child.kill(signal);
        assert.equal(await waiting.exit(), expected);
        assert.equal(waiting.output(), '');
      }
    } finally {
      silent.close();
    }
  });
});

/** A server that takes connections and never says anything. */
async function listening(): Promise<Server> {
  const server = createServer(() => {});
  await once(server.listen(0, '127.0.0.1'), 'listening');
  return server;
}

describe('backupctl and a service that asks who calls', () => {
  // A process for every command, and several processors' worth of other tests beside it.
  let secured: Secured;
  let issuer: Issuer;
  let folder: string;
  let address: string;
  before(async () => {
    issuer = await Issuer.create();
    secured = await startSecured(await Authority.create(), { issuer });
    address = secured.replica.address.replace('127.0.0.1', 'localhost');
    folder = mkdtempSync(join(tmpdir(), 'backupctl-'));
    writeFileSync(join(folder, 'token'), `${await issuer.token('read')}\n`);
    const contexts = { good: { address, 'tls-ca': secured.files.path('authority.crt'), 'token-file': 'token' } };
    writeFileSync(join(folder, 'config.yaml'), JSON.stringify({ contexts }));
  });
  after(async () => {
    await secured[Symbol.asyncDispose]();
    rmSync(folder, { recursive: true });
  });

  it('shows its token, from a file or from the environment, and says which flag is missing', async () => {
    const config = { BACKUPCTL_CONFIG: join(folder, 'config.yaml'), BACKUPCTL_CONTEXT: 'good' };
    const known = await backupctl(['courses', 'due'], config);
    assert.deepEqual(known, { code: 0, stdout: 'no course is due\n', stderr: '' });
    const ca = ['--address', address, '--tls-ca', secured.files.path('authority.crt')];
    const given = await backupctl(['courses', 'due', ...ca], { BACKUPCTL_TOKEN: await issuer.token('read') });
    assert.equal(given.code, 0, given.stderr);

    const unknown = await backupctl(['courses', 'due', ...ca]);
    assert.equal(unknown.code, 6);
    assert.match(
      unknown.stderr,
      /^error: UNAUTHENTICATED \(UNAUTHENTICATED\): .*\nhint: say who you are: --token-file/,
    );
    const forbidden = await backupctl(['courses', 'run', '1'], config);
    assert.equal(forbidden.code, 6);
    assert.match(
      forbidden.stderr,
      /^error: PERMISSION_DENIED \(SCOPE_MISSING\): the scope write is missing\nhint: whoever gives out tokens/,
    );
    const distrusted = await backupctl(['courses', 'due', '--address', address, '--tls']);
    assert.equal(distrusted.code, 5);
    assert.match(distrusted.stderr, /^error: UNAVAILABLE: .*\nhint: see --tls-ca \(whose signature counts\)/);
    const plain = await backupctl(['courses', 'due', '--address', address]);
    assert.equal(plain.code, 5);
    assert.match(
      plain.stderr,
      /\nhint: is localhost:\d+ the service, and without TLS \(with it: --tls-ca, or --tls\)\?/,
    );
    const absent = await backupctl(['courses', 'due', '--tls-ca', '/nonexistent/ca.crt']);
    assert.equal(absent.code, 2);
  });

  it('doctor says who one is and what one may do', async () => {
    const { stdout, code } = await backupctl(['doctor', '--config', join(folder, 'config.yaml'), '--context', 'good']);
    assert.match(stdout, /warn TLS +TLSv1\.3, the certificate counts for 23h/);
    assert.match(stdout, /identity +\S+ may read; not write, work, admin; the token ends in /);
    assert.equal(code, 0, stdout);
  });
});
