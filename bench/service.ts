import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { Client, credentials } from '@grpc/grpc-js';
import pg from 'pg';

/** The service as a process of its own. */
export type Service = AsyncDisposable & { readonly address: string; readonly process: ChildProcess };

export function startService(
  databaseUrl: string,
  settings: Record<string, string> = {},
  flags: string[] = [],
): Promise<Service> {
  const program = join(import.meta.dirname, '../src/main.ts');
  const environment = { DATABASE_URL: databaseUrl, LISTEN: '127.0.0.1:0', SERVICE_LOG: 'warn', ...settings };
  return startProgram(program, environment, [...startFlags(), ...flags]);
}

/** What `npm start` gives to Node. */
function startFlags(): string[] {
  const { scripts } = JSON.parse(readFileSync(join(import.meta.dirname, '../package.json'), 'utf8'));
  return scripts.start
    .match(/node (.*)src\/main\.ts/)[1]
    .split(' ')
    .filter(Boolean);
}

/** A program that says where it serves; `flags` are for Node. */
export async function startProgram(
  program: string,
  environment: Record<string, string>,
  flags: string[] = [],
): Promise<Service> {
  const child = spawn(process.execPath, [...flags, program], {
    env: { ...process.env, ...environment },
    stdio: ['ignore', 'pipe', 'inherit', 'ipc'],
  });
  let output = '';
  let address: string | undefined;
  for await (const text of child.stdout!.setEncoding('utf8')) {
    output += text;
    address = output.match(/serves \w+ on (\S+)/)?.[1];
    if (address) break;
  }
  if (!address) throw new Error('the service did not start');
  return {
    address,
    process: child,
    async [Symbol.asyncDispose]() {
      child.kill('SIGTERM');
      if (child.exitCode === null) await once(child, 'exit');
    },
  };
}

/** What it has in memory, in MiB: VmRSS of /proc. */
export function residentMiB({ process: { pid } }: Service): number {
  return Number(readFileSync(`/proc/${pid}/status`, 'utf8').match(/VmRSS:\s+(\d+)/)![1]) / 1024;
}

/** Processor time that it has taken so far, in ms: of /proc, where it stands in hundredths of a second. */
export function processorMs({ process: { pid } }: Service): number {
  const [user, system] = readFileSync(`/proc/${pid}/stat`, 'utf8').split(') ')[1]!.split(' ').slice(11, 13);
  return (Number(user) + Number(system)) * 10;
}

export function connect(address: string, how = credentials.createInsecure()): Client {
  return new Client(address, how, { 'grpc.use_local_subchannel_pool': 1 });
}

/** A new database on a server; its URL. */
export async function createDatabase(serverUrl: string, name: string): Promise<string> {
  const client = new pg.Client({ connectionString: serverUrl });
  await client.connect();
  await client.query(`drop database if exists ${name} with (force)`);
  await client.query(`create database ${name}`);
  await client.end();
  const url = new URL(serverUrl);
  url.pathname = `/${name}`;
  return url.href;
}
