import { spawn } from 'node:child_process';
import { once } from 'node:events';
import type { Readable, Writable } from 'node:stream';
import { repository } from './process.ts';

/** A `backupctl` as a process of its own, as a user starts it. */
export type Backupctl = AsyncDisposable & {
  readonly pid: number;
  readonly stdin: Writable;
  readonly stdout: Readable;
  /** What it has printed so far. */
  out(): string;
  lines(): string[];
  err(): string;
  kill(signal: NodeJS.Signals): void;
  /** Its exit code, when it has ended and all is read. */
  exit(): Promise<number | null>;
};

type How = {
  env?: Record<string, string | undefined>;
  /** A command of a shell in which `$BACKUPCTL` is the program, instead of arguments. */
  shell?: string;
};

export function startBackupctl(address: string, args: string[], { env = {}, shell }: How = {}): Backupctl {
  const [command, ...rest] = shell === undefined ? [...PROGRAM, ...args] : ['bash', '-o', 'pipefail', '-c', shell];
  const child = spawn(command!, rest, {
    cwd: repository,
    // What the machine has set must not decide.
    env: {
      ...process.env,
      NO_COLOR: undefined,
      FORCE_COLOR: undefined,
      BACKUPCTL: PROGRAM.join(' '),
      BACKUPCTL_ADDRESS: address,
      ...env,
    },
    detached: true,
  });
  const kept = { out: '', err: '' };
  child.stdout.setEncoding('utf8').on('data', text => {
    kept.out += text;
  });
  child.stderr.setEncoding('utf8').on('data', text => {
    kept.err += text;
  });
  child.stdin.on('error', () => {});
  const closed = once(child, 'close');
  return {
    pid: child.pid!,
    stdin: child.stdin,
    stdout: child.stdout,
    out: () => kept.out,
    lines: () => kept.out.split('\n').slice(0, -1),
    err: () => kept.err,
    kill: signal => child.kill(signal),
    exit: async () => (await closed)[0] as number | null,
    async [Symbol.asyncDispose]() {
      if (child.exitCode === null && child.signalCode === null) process.kill(-child.pid!, 'SIGKILL');
      await closed;
    },
  };
}

/** The same in a pseudo terminal of so many columns and rows; standard output and error are the terminal. */
export function onTerminal(address: string, args: string[], { columns = 100, rows = 24 } = {}): Backupctl {
  const command = `stty cols ${columns} rows ${rows}; exec ${PROGRAM.join(' ')} ${args.join(' ')}`;
  return startBackupctl(address, [], {
    shell: `exec script -qec '${command}' /dev/null`,
    env: { TERM: 'xterm-256color' },
  });
}

const PROGRAM = ['node', `${repository}/src/cli/backupctl.ts`];
