import { strict as assert } from 'node:assert';
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Dice } from '../../support/dice.ts';
import { repository } from '../../support/process.ts';

type Worker = { name: string; child: ChildProcess; exited: Promise<unknown>; said: () => string };

/** Workers, each a process of its own, and what is done to them. */
export class Crew implements AsyncDisposable {
  /** Where they write down what they were told. */
  readonly folder: string;
  readonly killed = new Set<string>();
  stops = 0;
  readonly #home = mkdtempSync(join(tmpdir(), 'backup-management-workers-'));
  readonly #addresses: string[];
  readonly #dice: Dice;
  readonly #working: Worker[] = [];
  readonly #stopped = new Set<Worker>();
  readonly #env: Record<string, string>;
  #hired = 0;

  constructor(addresses: string[], dice: Dice, env: Record<string, string> = {}) {
    this.#env = env;
    this.folder = join(this.#home, 'records');
    mkdirSync(this.folder);
    this.#addresses = addresses;
    this.#dice = dice;
  }

  hire(): void {
    const name = `w${++this.#hired}`;
    const args = ['test/support/worker.ts', name, String(this.#dice.below(2 ** 32)), this.folder, ...this.#addresses];
    // What one has compiled the next one need not: it begins with 0.24 s of the processor's time instead of 0.39.
    const env = { ...process.env, ...this.#env, NODE_COMPILE_CACHE: join(this.#home, 'compiled') };
    const child = spawn(process.execPath, args, { cwd: repository, env, stdio: ['pipe', 'ignore', 'pipe'] });
    let said = '';
    child.stderr!.setEncoding('utf8').on('data', text => {
      said += text;
    });
    this.#working.push({ name, child, exited: once(child, 'close'), said: () => said });
  }

  /** Kills one, and hires another. */
  kill(): void {
    const [victim] = this.#working.splice(this.#dice.below(this.#working.length), 1);
    victim!.child.kill('SIGKILL');
    this.killed.add(victim!.name);
    this.hire();
  }

  /** Stops one until `lost` says that it has lost all it held. */
  async stop(lost: (worker: string) => Promise<void>): Promise<void> {
    const [victim] = this.#working.splice(this.#dice.below(this.#working.length), 1);
    victim!.child.kill('SIGSTOP');
    this.#stopped.add(victim!);
    this.stops++;
    await lost(victim!.name);
    victim!.child.kill('SIGCONT');
    this.#stopped.delete(victim!);
    this.#working.push(victim!);
  }

  /** Lets them end what they do and go. */
  async leave(): Promise<void> {
    for (const { child } of this.#working) child.kill('SIGTERM');
    for (const { name, child, exited, said } of this.#working) {
      await exited;
      assert.deepEqual([child.exitCode, said()], [0, ''], `${name} has failed`);
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const { child, exited } of [...this.#working, ...this.#stopped]) {
      child.kill('SIGKILL');
      await exited;
    }
    rmSync(this.#home, { recursive: true, force: true });
  }
}
