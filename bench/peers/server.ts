import { existsSync, mkdtempSync, rmSync } from 'node:fs';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import { delimiter, join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { freePort } from '../../src/db/embedded.ts';
import { guarded } from '../../src/db/guarded.ts';

export type PeerServer = AsyncDisposable & { readonly port: number };

/** Starts a server that the machine has, on a free port and in a folder that goes with it; undefined, and said aloud, when it has none. */
export async function startServer(
  program: string,
  flags: (port: string, folder: string) => string[],
): Promise<PeerServer | undefined> {
  const path = find(program);
  if (!path) {
    console.log(`\n  !!! ${program} IS NOT INSTALLED: this peer is left out (apt-get install ${program})\n`);
    return undefined;
  }
  const folder = mkdtempSync(join(tmpdir(), `bench-${program}-`));
  const port = await freePort();
  const server = guarded([path, ...flags(port, folder)], { env: process.env });
  while (!(await accepts(Number(port)))) {
    if (server.ended) throw new Error(`${program} did not start: ${server.lastLines()}`);
    await delay(20);
  }
  return {
    port: Number(port),
    async [Symbol.asyncDispose]() {
      await server[Symbol.asyncDispose]();
      rmSync(folder, { recursive: true, force: true });
    },
  };
}

function find(program: string): string | undefined {
  // Debian has servers where not every account looks.
  const folders = [...(process.env['PATH'] ?? '').split(delimiter), '/usr/sbin', '/usr/local/sbin'];
  return folders.map(folder => join(folder, program)).find(path => existsSync(path));
}

function accepts(port: number): Promise<boolean> {
  const { promise, resolve } = Promise.withResolvers<boolean>();
  const socket = connect(port, '127.0.0.1');
  socket.on('connect', () => resolve(true)).on('error', () => resolve(false));
  return promise.finally(() => socket.destroy());
}
