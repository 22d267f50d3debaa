import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Client, credentials } from '@grpc/grpc-js';
import { freePort } from '../../src/db/embedded.ts';
import { clients } from '../support/backend.ts';
import { eventually } from '../support/eventually.ts';
import { repository, run } from '../support/process.ts';
import type { Entrance } from './caller.ts';

/** Programs that stand in front of replicas, with the configuration that is shipped for each. */
export const BALANCERS = {
  haproxy: { program: '/usr/sbin/haproxy', config: 'deploy/haproxy.cfg', flags: () => ['-db', '-f'] },
  nginx: {
    program: '/usr/sbin/nginx',
    config: 'deploy/nginx.conf',
    flags: (folder: string) => ['-e', 'stderr', '-g', `daemon off; pid ${folder}/pid;`, '-c'],
  },
};

export type BalancerName = keyof typeof BALANCERS;

export function hasBalancer(name: BalancerName): boolean {
  return existsSync(BALANCERS[name].program);
}

/** Where a replica serves, and where it tells its health. */
export type Behind = { address: string; health: string };

/** A balancer, and ways through it that have a connection each. */
export type Balancer = AsyncDisposable & { readonly address: string; entrance(): Entrance };

/** Three replicas behind the configuration that is shipped, with nothing in it changed but the addresses. */
export async function startBalancer(name: BalancerName, replicas: Behind[]): Promise<Balancer> {
  await using starting = new AsyncDisposableStack();
  const { program, config, flags } = BALANCERS[name];
  const folder = mkdtempSync(join(tmpdir(), 'backup-management-balancer-'));
  starting.defer(() => rmSync(folder, { recursive: true }));
  const address = `127.0.0.1:${await freePort()}`;
  const file = join(folder, 'config');
  writeFileSync(file, filled(name, readFileSync(join(repository, config), 'utf8'), address, replicas));
  const running = starting.use(run(program, [...flags(folder), file]));
  {
    await using trying = new AsyncDisposableStack();
    const { controllers } = enter(address, trying);
    await eventually(() => controllers.summarizeControllers({})).catch(error => {
      throw new Error(`${name} serves nobody: ${running.output()}`, { cause: error });
    });
  }
  const open = starting.move();
  return { address, entrance: () => enter(address, open), [Symbol.asyncDispose]: () => open.disposeAsync() };
}

function enter(address: string, open: AsyncDisposableStack): Entrance {
  const channel = new Client(address, credentials.createInsecure(), { 'grpc.use_local_subchannel_pool': 1 });
  open.defer(() => channel.close());
  return { address, timeoutMs: 60_000, ...clients(channel) };
}

function filled(name: BalancerName, config: string, address: string, replicas: Behind[]): string {
  const port = address.split(':')[1];
  let text = name === 'nginx' ? config.replaceAll('listen 50051', `listen ${address}`) : config;
  text = text.replaceAll('bind :50051', `bind ${address}`);
  for (const [i, { address, health }] of replicas.entries()) {
    const [name, checked] = [`backup-${i + 1}`, `port ${health.split(':')[1]}`];
    text = text.replace(`server ${name} ${name}:50051`, `server ${name} ${address} ${checked}`);
    text = text.replace(`server ${name}:50051`, `server ${address}`);
  }
  if (!text.includes(port!) || /backup-\d:50051/.test(text)) throw new Error(`addresses are left in ${text}`);
  return text;
}
