import { strict as assert } from 'node:assert';
import { existsSync, mkdirSync, mkdtempSync, readdirSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { freePort } from '../../../src/db/embedded.ts';
import { eventually } from '../../support/eventually.ts';
import { type Running, ready, repository, run } from '../../support/process.ts';

/** What a command is to say. One that `stays` goes on beside those that follow, from when it has said so. */
export type Expected = { says?: RegExp; stays?: true; atLast?: RegExp; exit?: number };

/**
 * Where a reader's commands run: a checkout of the repository that is thrown away, in a home of its own. Ports are free ones, always the same for
 * one that is named, and the hosts of examples are this machine.
 */
export class Terminal implements AsyncDisposable {
  readonly folder = mkdtempSync(join(tmpdir(), 'backup-management-docs-'));
  readonly #ports = new Map<string, string>();
  readonly #hosts: Map<string, string>;
  readonly #open = new AsyncDisposableStack();
  readonly #staying: { command: string; running: Running; atLast: RegExp | undefined }[] = [];

  /** `hosts`: for a name with its port, what is there instead. */
  constructor(hosts: Record<string, string> = {}) {
    this.#hosts = new Map(Object.entries(hosts));
    for (const name of readdirSync(repository))
      if (!LEFT_OUT.has(name)) symlinkSync(join(repository, name), join(this.folder, name));
    this.#installClient();
    mkdirSync(join(this.folder, 'home/bin'), { recursive: true });
    // Debian's has the packages of Debian, whichever one comes first here.
    if (existsSync('/usr/bin/python3')) symlinkSync('/usr/bin/python3', join(this.folder, 'home/bin/python3'));
  }

  /** The same text as it is entered here. */
  async here(text: string): Promise<string> {
    const local = text.replace(EXAMPLE_HOST, '127.0.0.1$1');
    for (const [, port] of local.matchAll(PORT)) if (!this.#ports.has(port!)) this.#ports.set(port!, await freePort());
    let here = local.replace(PORT, (_, port) => `:${this.#ports.get(port)}`);
    for (const [name, instead] of this.#hosts) here = here.replaceAll(name, instead);
    return here;
  }

  /** What it exports or assigns is there for those that follow. */
  async enter(command: string, { says, stays, atLast, exit = 0 }: Expected = {}): Promise<void> {
    if (isStart(command)) await this.#stopServiceOn(portOf(command));
    const env = {
      LISTEN: await this.here('127.0.0.1:50051'),
      PAGE_LISTEN: '127.0.0.1:0',
      BACKUPCTL_ADDRESS: await this.here('127.0.0.1:50051'),
      HOME: join(this.folder, 'home'),
      XDG_CONFIG_HOME: undefined,
      SERVICE_LOG: 'error',
      NO_COLOR: '1',
      PATH: `${join(this.folder, 'home/bin')}:${process.env['PATH']}`,
      ENTERED: await this.here(command),
    };
    const script = isStart(command) || stays ? `${RESTORE}; eval "$ENTERED"` : `${RESTORE}; eval "$ENTERED"; ${KEEP}`;
    const running = this.#open.use(run('sh', ['-c', script], env, this.folder));
    if (isStart(command)) await ready(running);
    else if (stays && says) await this.#told(running, command, says);
    if (stays || isStart(command)) {
      this.#staying.push({ command, running, atLast });
      return;
    }
    assert.equal(await running.exit(), exit, `${command}\n${running.output()}`);
    if (says) assert.match(running.output(), says, `${command}\n${running.output()}`);
  }

  /** A program of the page, run in its folder. */
  async runProgram(name: string, text: string, expected?: Expected): Promise<void> {
    writeFileSync(join(this.folder, name), await this.here(text));
    await this.enter(`node ${name}`, expected);
  }

  /** As `npm install` of the package does, but for the code, which is that of the repository. */
  #installClient(): void {
    const modules = join(this.folder, 'node_modules');
    const client = join(modules, 'backup-management-client');
    mkdirSync(client, { recursive: true });
    for (const name of readdirSync(join(repository, 'node_modules')))
      if (name !== 'backup-management-client') symlinkSync(join(repository, 'node_modules', name), join(modules, name));
    symlinkSync(join(repository, 'src'), join(client, 'src'));
    const exports = { '.': './src/client/main.ts', './backup/v1/*': './src/gen/backup/v1/*_pb.ts' };
    writeFileSync(join(client, 'package.json'), JSON.stringify({ type: 'module', exports }));
  }

  /** What was to be said when all others had run. */
  async finish(): Promise<void> {
    for (const { command, running, atLast } of this.#staying) if (atLast) await this.#told(running, command, atLast);
  }

  async #told(running: Running, command: string, what: RegExp): Promise<void> {
    await eventually(() => assert.match(running.output(), what, `${command}\n${running.output()}`));
  }

  /** A service is started where the one before was. */
  async #stopServiceOn(port: string): Promise<void> {
    const there = this.#staying.findIndex(({ command }) => isStart(command) && portOf(command) === port);
    if (there >= 0) await stop(this.#staying.splice(there, 1)[0]!.running);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const { running } of this.#staying.toReversed()) await stop(running);
    await this.#open.disposeAsync();
    // PostgreSQL may still be writing there for a moment.
    await eventually(() => {
      rmSync(this.folder, { recursive: true, force: true });
      assert.ok(!existsSync(this.folder));
    });
  }
}

/** What `npm ci` makes is there, what commands write is not. */
const LEFT_OUT = new Set(['.data', '.git', 'dist', 'node_modules']);

const EXAMPLE_HOST = /\b(?:backup|canary)-\d(:\d)/g;

const PORT = /(?<=127\.0\.0\.1|localhost|0\.0\.0\.0):(\d{4,5})\b/g;

export function isStart(command: string): boolean {
  return /\bnpm start$/.test(command);
}

/** Where the service of a command listens, as the page has it. */
function portOf(command: string): string {
  return /(?<!_)LISTEN=\S+:(\d+)/.exec(command)?.[1] ?? '50051';
}

const RESTORE = 'set -a; [ ! -f .shell ] || . ./.shell';

const KEEP = 'status=$?; unset ENTERED; export -p > .shell; exit $status';

async function stop({ child, exit }: Running): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  process.kill(-child.pid!, 'SIGTERM');
  await Promise.race([exit(), delay(15_000, undefined, { ref: false })]);
}
