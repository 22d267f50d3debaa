import { strict as assert } from 'node:assert';
import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import {
  chmodSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  truncateSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { basename, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { list } from 'tar';
import { tailLogs } from '../../examples/tail.ts';
import { backUpFolder, newBackupId } from '../../examples/worker.ts';
import { Status } from '../../src/gen/backup/v1/controller_pb.ts';
import { LogLevel } from '../../src/gen/backup/v1/entry_pb.ts';
import { startBackend, startReplica } from '../support/backend.ts';
import { createDatabase } from '../support/database.ts';
import { eventually } from '../support/eventually.ts';

const REPOSITORY = fileURLToPath(new URL('../..', import.meta.url));
const BACKUPS = join(REPOSITORY, '.data/demo/backups');
const MIB = 1024 * 1024;

describe('the demo', () => {
  let folder: string;
  const children: ChildProcess[] = [];

  beforeEach(() => {
    folder = mkdtempSync(join(tmpdir(), 'demo-'));
  });

  afterEach(() => {
    for (const child of children.splice(0)) if (isRunning(child)) child.kill('SIGKILL');
    for (const file of archives()) rmSync(join(BACKUPS, file));
    rmSync(folder, { recursive: true });
  });

  it('archives every file, whatever its name, and the tail sees every entry', async () => {
    const names = [
      'plain',
      'empty',
      'a b',
      '-rf',
      '@list',
      '"quoted"',
      'back\\slash',
      'ünï✓😀',
      'new\nline',
      '.hidden',
    ];
    for (const name of names) put(name, name === 'empty' ? '' : `content of ${name}`);
    const far = `${'deep/'.repeat(30)}${'n'.repeat(200)}`;
    put(far);
    put(Buffer.from('inv\xfflid', 'latin1'));
    put('.git/config');
    put('sub/node_modules/x.js');
    mkdirSync(join(folder, 'nothing inside'));
    symlinkSync('plain', join(folder, 'link'));
    symlinkSync('/nowhere', join(folder, 'dangling'));
    assert.equal(spawnSync('mkfifo', [join(folder, 'pipe')]).status, 0);
    await using database = await createDatabase();

    const run = await demo(database.url).end;

    assert.deepEqual([run.code, run.err], [0, '']);
    const files = names.length + 4;
    const [archive, ...counts] = run.lines.slice(-3);
    assert.match(
      archive!,
      new RegExp(`^archive: .*${basename(folder)}-[0-9a-f]{32}\\.tar\\.gz \\(${files} files, \\d.*B\\)$`),
    );
    assert.deepEqual(counts, [`log entries written: ${files + 1}`, `log entries received by the tail: ${files + 1}`]);
    const found = await contentsOf(archive!.split(' ')[1]!);
    const folders = [...Array(30).keys()].map(i => 'deep/'.repeat(i + 1).slice(0, -1));
    assert.deepEqual(
      [...found.keys()].sort(),
      [...names, far, 'inv\\xfflid', 'link', 'dangling', ...folders, 'nothing inside', 'sub', '.'].sort(),
    );
    for (const name of [...names, far]) assert.equal(found.get(name), readFileSync(join(folder, name), 'utf8'), name);
    assert.deepEqual([found.get('link'), found.get('dangling')], ['-> plain', '-> /nowhere']);

    await using service = await startReplica(database.url);
    const backupId = idIn(archive!);
    const { controller } = await service.controllers.getController({ backupId });
    assert.deepEqual([controller?.status, controller?.progress], [Status.FINISHED_OK, 1]);
    const { entries } = await service.logs.listLogs({ backupId, maxLevel: LogLevel.WARNING });
    assert.deepEqual(
      entries.map(entry => entry.message),
      ['inv\\xfflid (1 bytes); its name is not UTF-8 and was changed', 'pipe: left out, not a file, folder or link'],
    );
    assertNoneLeft(database.url);
  });

  it('goes on without what vanishes or cannot be read', async () => {
    putLarge('a', 100 * MIB);
    put('b');
    put('closed');
    chmodSync(join(folder, 'closed'), 0);
    put('d/vanishes');
    await using database = await createDatabase();
    const running = demo(database.url);
    await eventually(() => assert.ok(archives().some(file => file.endsWith('.partial'))));
    rmSync(join(folder, 'd'), { recursive: true });

    const run = await running.end;

    const isRoot = process.getuid?.() === 0;
    assert.deepEqual([run.code, run.err], [0, '']);
    const [archive, ...counts] = run.lines.slice(-3);
    assert.deepEqual(counts, ['log entries written: 4', 'log entries received by the tail: 4']);
    assert.deepEqual(
      [...(await contentsOf(archive!.split(' ')[1]!)).keys()],
      ['.', 'a', 'b', ...(isRoot ? ['closed'] : []), 'd'],
    );
    assert.match(run.out, /^\d+ \S+ WARNING d\/vanishes: left out, ENOENT$/m);
    if (!isRoot) assert.match(run.out, /^\d+ \S+ WARNING closed: left out, EACCES$/m);
  });

  it('archives an empty folder', async () => {
    await using database = await createDatabase();
    const { code, lines } = await demo(database.url).end;
    assert.equal(code, 0);
    const [archive, ...counts] = lines.slice(-3);
    assert.match(archive!, / \(0 files, /);
    assert.deepEqual(counts, ['log entries written: 0', 'log entries received by the tail: 0']);
    assert.deepEqual(await contentsOf(archive!.split(' ')[1]!), new Map([['.', 'folder']]));
  });

  it('says what is wrong with a folder that is none', async () => {
    put('file');
    for (const [path, complaint] of [
      [join(folder, 'missing'), /^there is no folder .*missing\n$/],
      [join(folder, 'file'), /^.*file is not a folder\n$/],
    ] as const) {
      const run = await demo('postgresql://unused', path).end;
      assert.deepEqual([run.code, run.out], [1, '']);
      assert.match(run.err, complaint);
    }
  });

  it('ends the run as failed at Ctrl-C, and leaves neither an archive nor a process', async () => {
    put('a');
    putLarge('b', 50_000 * MIB);
    await using database = await createDatabase();
    const running = demo(database.url);
    await eventually(() => assert.match(running.out, /^1 \S+ INFO a /m));
    assert.equal(archives().length, 1);
    process.kill(-running.child.pid!, 'SIGINT');

    const run = await running.end;

    assert.deepEqual([run.code, run.err], [130, 'interrupted by SIGINT\n']);
    assert.deepEqual(archives(), []);
    assertNoneLeft(database.url);
    await using service = await startReplica(database.url);
    const { controllers } = await service.controllers.listControllers({});
    assert.deepEqual(
      controllers.map(({ status }) => status),
      [Status.FINISHED_ERR],
    );
    const { entries } = await service.logs.listLogs({ backupId: controllers[0]!.backupId });
    assert.deepEqual(
      entries.map(({ level, message }) => [level, message]),
      [
        [LogLevel.INFO, 'a (1 bytes)'],
        [LogLevel.ERROR, 'the backup failed: interrupted by SIGINT'],
      ],
    );
    // The tail has seen it, too.
    assert.match(run.out, /^2 \S+ ERROR the backup failed: interrupted by SIGINT$/m);
  });

  it('has a worker and a tail that run alone', async () => {
    put('a');
    put('b');
    await using backend = await startBackend();
    const worker = await start(['examples/worker.ts', backend.address, folder]).end;
    assert.deepEqual([worker.code, worker.err], [0, '']);
    const backupId = idIn(worker.lines.at(-2)!);
    const tail = await start(['examples/tail.ts', backend.address, backupId]).end;
    assert.deepEqual([tail.code, tail.err], [0, '']);
    assert.equal(tail.lines.at(-1), 'log entries received by the tail: 2');
  });

  it('has a worker and a tail that outlive a restart of the service and a short life of streams', async () => {
    for (let i = 0; i < 500; i++) put(`a/${i}`);
    putLarge('b', 100 * MIB);
    for (let i = 0; i < 500; i++) put(`c/${i}`);
    await using stack = new AsyncDisposableStack();
    const settings = { TAIL_MAX_AGE: '50ms', SHUTDOWN_GRACE: '100ms' };
    const backend = stack.use(await startBackend({ settings }));
    const backupId = newBackupId();
    const worker = backUpFolder(backend.address, folder, backupId, new AbortController().signal);
    let restarted: PromiseLike<unknown> | undefined;
    let streams = 0;
    let received = 0;
    for await (const event of tailLogs(backend.address, [backupId])) {
      if (event.case === 'started') streams++;
      if (event.case === 'entries') received += event.value.entries.length;
      if (received > 0) {
        restarted ??= backend.replicas[0]![Symbol.asyncDispose]().then(async () => {
          stack.use(await startReplica(backend.database.url, { ...settings, LISTEN: backend.address }));
        });
      }
    }
    await restarted;
    const { logEntries } = await worker;
    assert.deepEqual([logEntries, received], [1001, 1001]);
    assert.ok(streams > 2, `${streams} streams`);
  });

  function demo(databaseUrl: string, path = folder) {
    return start(['examples/demo.ts', path], { DATABASE_URL: databaseUrl });
  }

  /** Runs a program in a process group of its own, as a terminal does. */
  function start(args: string[], env: Record<string, string> = {}) {
    const child = spawn(process.execPath, args, {
      cwd: REPOSITORY,
      env: { ...process.env, ...env },
      detached: true,
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    children.push(child);
    const run = { child, out: '', err: '' };
    child.stdout.setEncoding('utf8').on('data', text => {
      run.out += text;
    });
    child.stderr.setEncoding('utf8').on('data', text => {
      run.err += text;
    });
    const end = once(child, 'close').then(([code]) => ({ ...run, code, lines: run.out.trimEnd().split('\n') }));
    return Object.assign(run, { end });
  }

  function put(name: string | Buffer, content = 'x'): void {
    const path = Buffer.concat([Buffer.from(`${folder}/`), Buffer.from(name as string)]);
    mkdirSync(path.subarray(0, path.lastIndexOf('/')), { recursive: true });
    writeFileSync(path, content);
  }

  /** Takes its time to be read, but no room. */
  function putLarge(name: string, size: number): void {
    put(name, '');
    truncateSync(join(folder, name), size);
  }

  function archives(): string[] {
    return existsSync(BACKUPS) ? readdirSync(BACKUPS).filter(file => file.startsWith(basename(folder))) : [];
  }
});

function isRunning({ exitCode, signalCode }: ChildProcess): boolean {
  return exitCode === null && signalCode === null;
}

function idIn(line: string): string {
  return /[0-9a-f]{32}/.exec(line)![0];
}

/** What an archive has under each name: the content of a file, where a link leads. */
async function contentsOf(archive: string): Promise<Map<string, string>> {
  const found = new Map<string, string>();
  const file = join(REPOSITORY, archive);
  await list({
    file,
    strict: true,
    maxDecompressionRatio: Number.POSITIVE_INFINITY,
    onReadEntry(entry) {
      const path = entry.path.replace(/(.)\/$/, '$1');
      assert.ok(!found.has(path), path);
      found.set(path, { Directory: 'folder', SymbolicLink: `-> ${entry.linkpath}` }[entry.type as string] ?? '');
      if (entry.size < MIB) entry.on('data', part => found.set(path, found.get(path) + part.toString()));
      else entry.resume();
    },
  });
  return found;
}

/** Whoever was started with this database has it in its environment. Linux only. */
function assertNoneLeft(databaseUrl: string): void {
  if (process.platform !== 'linux') return;
  const left = readdirSync('/proc').filter(pid => {
    try {
      return /^\d+$/.test(pid) && readFileSync(`/proc/${pid}/environ`, 'utf8').includes(databaseUrl);
    } catch {
      return false; // gone meanwhile, or another user's
    }
  });
  assert.deepEqual(left, []);
}
