import { strict as assert } from 'node:assert';
import { mkdirSync, mkdtempSync, readdirSync, rmSync, symlinkSync } from 'node:fs';
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
    mkdirSync(join(this.folder, 'home'));
  }

  /** The same text as it is entered here. */
  async here(text: string): Promise<string> {
    let here = text;
    for (const [name, instead] of this.#hosts) here = here.replaceAll(name, instead);
    here = here.replace(EXAMPLE_HOST, '127.0.0.1$1');
    for (const [, port] of here.matchAll(PORT)) if (!this.#ports.has(port!)) this.#ports.set(port!, await freePort());
    return here.replace(PORT, (_, port) => `:${this.#ports.get(port)}`);
  }

  async enter(command: string, { says, stays, atLast, exit = 0 }: Expected = {}): Promise<void> {
    if (isStart(command)) await this.#stopService();
    const env = {
      LISTEN: await this.here('127.0.0.1:50051'),
      BACKUPCTL_ADDRESS: await this.here('127.0.0.1:50051'),
      HOME: join(this.folder, 'home'),
      XDG_CONFIG_HOME: undefined,
      SERVICE_LOG: 'error',
      NO_COLOR: '1',
    };
    const running = this.#open.use(run('sh', ['-c', await this.here(command)], env, this.folder));
    const told = `${command}\n${running.output()}`;
    if (isStart(command)) await ready(running);
    else if (stays && says) await this.#told(running, command, says);
    if (stays || isStart(command)) {
      this.#staying.push({ command, running, atLast });
      return;
    }
    assert.equal(await running.exit(), exit, `${told}${running.output()}`);
    if (says) assert.match(running.output(), says, command);
  }

  /** What was to be said when all others had run. */
  async finish(): Promise<void> {
    for (const { command, running, atLast } of this.#staying) if (atLast) await this.#told(running, command, atLast);
  }

  async #told(running: Running, command: string, what: RegExp): Promise<void> {
    await eventually(() => assert.match(running.output(), what, `${command}\n${running.output()}`), 30_000);
  }

  /** A service is started where the one before was. */
  async #stopService(): Promise<void> {
    const services = this.#staying.filter(({ command }) => isStart(command));
    for (const service of services) {
      await stop(service.running);
      this.#staying.splice(this.#staying.indexOf(service), 1);
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const { running } of this.#staying.toReversed()) await stop(running);
    await this.#open.disposeAsync();
    rmSync(this.folder, { recursive: true, force: true });
  }
}

/** What `npm ci` makes is there, what commands write is not. */
const LEFT_OUT = new Set(['.data', '.git', 'dist']);

const EXAMPLE_HOST = /\b(?:backup|canary)-\d(:\d)/g;

const PORT = /(?<=127\.0\.0\.1|localhost|0\.0\.0\.0):(\d{4,5})\b/g;

export function isStart(command: string): boolean {
  return /\bnpm start$/.test(command);
}

async function stop({ child, exit }: Running): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  process.kill(-child.pid!, 'SIGTERM');
  await Promise.race([exit(), delay(15_000, undefined, { ref: false })]);
}
