import { execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createConnection } from 'mysql2/promise';
import { freePort } from '../../src/db/embedded.ts';
import { eventually } from './eventually.ts';

const PROGRAM = '/usr/sbin/mariadbd';

export const hasMariadb = existsSync(PROGRAM);

/** A MariaDB of its own, with an empty database `moodle`; ends with the process that started it, however that ends. */
export async function startMariadb(): Promise<AsyncDisposable & { readonly url: string }> {
  const folder = mkdtempSync(join(tmpdir(), 'mariadb-'));
  const data = join(folder, 'data');
  const who = process.getuid?.() === 0 ? ['--user=root'] : [];
  execFileSync(
    'mariadb-install-db',
    [`--datadir=${data}`, '--auth-root-authentication-method=normal', '--skip-test-db', ...who],
    { stdio: 'ignore' },
  );
  const port = await freePort();
  const options = [
    '--no-defaults',
    `--datadir=${data}`,
    `--socket=${join(folder, 'socket')}`,
    `--port=${port}`,
    '--bind-address=127.0.0.1',
    '--innodb-flush-log-at-trx-commit=0',
    '--innodb-buffer-pool-size=64M',
    ...who,
  ];
  // The shell waits for the end of its input, which comes when this process is gone.
  const guard = 'server=$1; shift; "$server" "$@" & cat > /dev/null; kill -9 $!';
  const child = spawn('sh', ['-c', guard, 'sh', PROGRAM, ...options], { stdio: ['pipe', 'ignore', 'ignore'] });
  const server = `mysql://root@127.0.0.1:${port}`;
  await eventually(async () => {
    const connection = await createConnection({ uri: server });
    await connection.query('create database moodle character set utf8mb4');
    await connection.end();
  });
  return {
    url: `${server}/moodle`,
    async [Symbol.asyncDispose]() {
      child.stdin.end();
      await once(child, 'exit');
      rmSync(folder, { recursive: true });
    },
  };
}
