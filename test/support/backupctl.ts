import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { text } from 'node:stream/consumers';
import { repository } from './process.ts';

export type Ended = { code: number | null; stdout: string; stderr: string };

/** Runs `backupctl` as a process without a terminal, in UTC, with no settings but those given, and waits for its end. */
export async function backupctl(args: string[], env: Record<string, string> = {}, input = ''): Promise<Ended> {
  const child = spawn(process.execPath, ['src/cli/backupctl.ts', ...args], {
    cwd: repository,
    env: { PATH: process.env['PATH'], HOME: '/nonexistent', TZ: 'UTC', ...env },
  });
  child.stdin.end(input);
  const [stdout, stderr, [code]] = await Promise.all([text(child.stdout), text(child.stderr), once(child, 'close')]);
  return { code, stdout, stderr };
}
