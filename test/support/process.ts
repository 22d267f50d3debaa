import { strict as assert } from 'node:assert';
import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';
import { eventually } from './eventually.ts';

export const repository = fileURLToPath(new URL('../..', import.meta.url));

/** A command of the repository, in a process group of its own, and what it printed so far. */
export type Running = AsyncDisposable & {
  readonly child: ChildProcess;
  readonly output: () => string;
  exit(): Promise<number | null>;
};

export function run(
  command: string,
  args: string[],
  env: Record<string, string | undefined> = {},
  cwd = repository,
): Running {
  const child = spawn(command, args, { cwd, env: { ...process.env, ...env }, detached: true });
  let output = '';
  for (const stream of [child.stdout, child.stderr])
    stream.setEncoding('utf8').on('data', text => {
      output += text;
    });
  const exited = once(child, 'close');
  return {
    child,
    output: () => output,
    exit: async () => (await exited)[0] as number | null,
    async [Symbol.asyncDispose]() {
      if (child.exitCode === null && child.signalCode === null) process.kill(-child.pid!, 'SIGKILL');
      await exited;
    },
  };
}

/** Waits for the line that says where the service is. */
export async function ready(running: Running): Promise<string> {
  const said = /^Backup Management serves gRPC on (\S+)$/m;
  return eventually(() => running.output().match(said)?.[1] ?? assert.fail(`not ready: ${running.output()}`));
}

/** Processes whose command line contains this text. */
export function processesWith(text: string): string[] {
  const all = execFileSync('ps', ['-eo', 'pid,stat,args'], { encoding: 'utf8' }).split('\n');
  return all.filter(line => line.includes(text) && !/^\s*\d+\s+Z/.test(line) && !line.includes('ps -eo'));
}
