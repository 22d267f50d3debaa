import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { chmodSync, existsSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { freePort } from '../../src/db/embedded.ts';
import { accepts } from './accepts.ts';
import { eventually } from './eventually.ts';

const PROGRAM = '/usr/sbin/pgbouncer';

export const hasPgbouncer = existsSync(PROGRAM);

/** Where a PgBouncer in transaction mode serves a database that is at this address without it. */
export type Pooler = AsyncDisposable & { urlOf(databaseUrl: string): string };

/** A PgBouncer in transaction mode in front of a server, for its user. It ends with this process. */
export async function startPgbouncer(serverUrl: string): Promise<Pooler> {
  const { hostname, port, username, password } = withPassword(serverUrl);
  const folder = mkdtempSync(join(tmpdir(), 'pgbouncer-'));
  chmodSync(folder, 0o755);
  const listen = await freePort();
  const users = join(folder, 'users');
  const settings = join(folder, 'settings.ini');
  writeFileSync(users, `"${decodeURIComponent(username)}" "${decodeURIComponent(password)}"\n`);
  writeFileSync(
    settings,
    `[databases]
* = host=${hostname} port=${port}
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = ${listen}
unix_socket_dir =
auth_type = scram-sha-256
auth_file = ${users}
pool_mode = transaction
default_pool_size = 10
max_client_conn = 500
server_idle_timeout = 1
log_connections = 0
log_disconnections = 0
`,
  );
  // It refuses to be root.
  const who = process.getuid?.() === 0 ? ['-u', 'nobody'] : [];
  const child = spawn(PROGRAM, [...who, settings], { stdio: 'ignore' });
  const exited = once(child, 'close');
  const stop = () => child.kill('SIGKILL');
  process.once('exit', stop);
  await eventually(() => accepts(Number(listen)));
  return {
    urlOf(databaseUrl) {
      const url = withPassword(databaseUrl);
      url.port = listen;
      return url.href;
    },
    async [Symbol.asyncDispose]() {
      process.off('exit', stop);
      stop();
      await exited;
      rmSync(folder, { recursive: true, force: true });
    },
  };
}

/** A server may let in without one; the pooler does not. */
function withPassword(databaseUrl: string): URL {
  const url = new URL(databaseUrl);
  url.password ||= 'none';
  return url;
}
