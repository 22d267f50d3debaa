import { spawn, spawnSync } from 'node:child_process';
import type { Socket } from 'node:net';

export type Account = { uid: number; gid: number };

export type Program = AsyncDisposable & { end: Promise<number>; ended: boolean; lastLines(): string; unref(): void };

// The shell is the program's parent, so it can neither miss its end nor signal a recycled pid. INT is repeated because
// a program only just started ignores it; the last kill takes along the reader of the pipe.
const GUARD = `
  exec 3<&0 </dev/null
  "$@" 3<&- & program=$!
  { read _ <&3; for _ in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15; do kill -INT $program; sleep 1; done; kill -QUIT $program; } &
  wait $program; status=$?
  trap '' TERM; kill 0
  exit $status`;

/** Runs a program that is stopped when we dispose of it, and when this process ends: the pipe to its guard closes. */
export function guarded(command: string[], options: Partial<Account> & { env: NodeJS.ProcessEnv }): Program {
  const shell = spawn('/bin/sh', ['-c', GUARD, 'sh', ...command], {
    ...options,
    cwd: '/',
    detached: true, // a terminal's Ctrl-C must not stop the database before its users have drained
    stdio: ['pipe', 'ignore', 'pipe'],
  });
  let output = '';
  shell.stderr.setEncoding('utf8').on('data', text => {
    output = (output + text).slice(-4000);
  });
  const end = new Promise<number>(settle => {
    shell.once('close', settle).once('error', error => {
      output += error.message;
      settle(-1);
    });
  });
  const handles = [shell, shell.stdin as Socket, shell.stderr as Socket];
  const program = {
    end,
    ended: false,
    lastLines: () => output.trim(),
    unref() {
      for (const handle of handles) handle.unref();
    },
    async [Symbol.asyncDispose]() {
      for (const handle of handles) handle.ref();
      shell.stdin.destroy();
      await end;
    },
  };
  void end.then(() => {
    program.ended = true;
  });
  return program;
}

type Identity = Partial<Account> & { prefix: string[] };

/** The account plainly or, when it may not pass a folder such as /root, with the one capability that lets it. */
export function reachingIdentity({ uid, gid }: Account, paths: string[]): Identity {
  // Docker grants dac_override, not dac_read_search; without no_setuid_fixup, access(2) ignores the capability.
  const capability = ['--inh-caps=+dac_override', '--ambient-caps=+dac_override', '--securebits=+no_setuid_fixup'];
  const prefix = ['setpriv', `--reuid=${uid}`, `--regid=${gid}`, '--clear-groups', ...capability, '--'];
  const canReach = ({ prefix, ...ids }: Identity) =>
    paths.every(path => spawnSync('env', [...prefix, 'test', '-x', path], { ...ids, cwd: '/' }).status === 0);
  const identity = [{ prefix: [], uid, gid }, { prefix }].find(canReach);
  if (identity) return identity;
  throw new Error(
    `PostgreSQL does not run as root, and user ${uid} cannot reach ${paths.join(' and ')}, not even by setpriv ` +
      '(of util-linux): run as another user, use a folder open to that one or set DATABASE_URL',
  );
}
