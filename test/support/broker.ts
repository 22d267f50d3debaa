import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { freePort } from '../../src/db/embedded.ts';
import { accepts } from './accepts.ts';
import type { Pair } from './authority.ts';
import { eventually } from './eventually.ts';

/** Debian's server of a broker, with one user who may do what docs/replicas.md says and no more. It ends with this process. */
export type Broker = AsyncDisposable & {
  /** With user and password. */
  readonly url: string;
  readonly port: number;
  kill(): Promise<void>;
  /** Where it was, if it does not run. */
  start(): Promise<void>;
};

export type BrokerKind = keyof typeof kinds;

type Wishes = {
  /** TLS only, with this certificate. */
  pair?: Pair;
  /** More lines of its settings. */
  more?: string;
};

type Setup = { port: string; folder: string; tls: { cert: string; key: string } | undefined };

/** Of the user in Redis; docs/replicas.md says the same. */
export const REDIS_RIGHTS = 'resetchannels &backup_doorbell.* -@all +hello +publish +subscribe +pubsub|numsub';

/** To what he may publish and subscribe in NATS. */
export const NATS_SUBJECTS = 'backup_doorbell.>';

const USER = 'doorbell';
const PASSWORD = 'p%40ss';

const kinds = {
  nats: {
    program: '/usr/sbin/nats-server',
    package: 'nats-server',
    protocol: { plain: 'nats', tls: 'tls' },
    configure: ({ port, tls }: Setup) => `listen: "127.0.0.1:${port}"
${tls ? `tls { cert_file: "${tls.cert}", key_file: "${tls.key}" }` : ''}
authorization { users = [ { user: ${USER}, password: "p@ss", permissions: { publish: "${NATS_SUBJECTS}", subscribe: "${NATS_SUBJECTS}" } } ] }
`,
    flags: ['-c'],
  },
  redis: {
    program: '/usr/bin/redis-server',
    package: 'redis-server',
    protocol: { plain: 'redis', tls: 'rediss' },
    configure: ({ port, folder, tls }: Setup) => `bind 127.0.0.1
${tls ? `port 0\ntls-port ${port}\ntls-cert-file ${tls.cert}\ntls-key-file ${tls.key}\ntls-auth-clients no` : `port ${port}`}
save ""
dir ${folder}
user default off
user ${USER} on >p@ss ${REDIS_RIGHTS}
`,
    flags: [],
  },
} as const;

/** Those that are here; that one is not is said aloud. */
export const brokers: BrokerKind[] = (['nats', 'redis'] as const).filter(kind => {
  const { program, package: wanted } = kinds[kind];
  if (!existsSync(program)) console.warn(`left out: ${program} (apt-get install ${wanted})`);
  return existsSync(program);
});

export async function startBroker(kind: BrokerKind, { pair, more = '' }: Wishes = {}): Promise<Broker> {
  const { program, protocol, configure, flags } = kinds[kind];
  const folder = mkdtempSync(join(tmpdir(), `${kind}-`));
  const file = (name: string, text: string) => {
    writeFileSync(join(folder, name), text, { mode: 0o600 });
    return join(folder, name);
  };
  const tls = pair && { cert: file('tls.crt', pair.cert), key: file('tls.key', pair.key) };
  const port = await freePort();
  const settings = file('settings', configure({ port, folder, tls }) + more);
  let child: ChildProcess | undefined;
  let exited: Promise<unknown>;
  const end = () => child?.kill('SIGKILL');
  const start = async () => {
    if (child && child.exitCode === null && child.signalCode === null) return;
    child = spawn(program, [...flags, settings], { stdio: 'ignore' });
    exited = once(child, 'exit');
    await eventually(() => accepts(Number(port)));
  };
  const kill = async () => {
    end();
    await exited;
  };
  await start();
  process.once('exit', end);
  return {
    url: `${protocol[pair ? 'tls' : 'plain']}://${USER}:${PASSWORD}@${pair ? 'localhost' : '127.0.0.1'}:${port}`,
    port: Number(port),
    kill,
    start,
    async [Symbol.asyncDispose]() {
      process.off('exit', end);
      await kill();
      rmSync(folder, { recursive: true });
    },
  };
}
