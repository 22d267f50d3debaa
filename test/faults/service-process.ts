import { existsSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { Client, credentials } from '@grpc/grpc-js';
import { freePort } from '../../src/db/embedded.ts';
import { clients, type Replica } from '../support/backend.ts';
import { Cable } from '../support/cable.ts';
import { type Running, ready, run } from '../support/process.ts';

export type Start = {
  /** The folder of the sources to run: this repository, or another version. */
  sources?: string;
  settings?: Record<string, string>;
  /** The file that the replica reads how far its clock is off; without it the clock is right. */
  clockFile?: string;
};

/** Limits short enough for a test to see them reached, and long enough for what is only slow on a machine that is. */
const settings = {
  SERVICE_LOG: 'warn',
  CALL_TIMEOUT: '5s',
  DATABASE_CONNECT_TIMEOUT: '4s',
  DATABASE_POOL_SIZE: '6',
  TAIL_POLL: '1s',
  TAIL_HEARTBEAT: '1s',
  NOTIFY_HEARTBEAT: '1s',
  KEEPALIVE_TIME: '1s',
  KEEPALIVE_TIMEOUT: '4s',
  WRITE_TIMEOUT: '5s',
  SHUTDOWN_GRACE: '1s',
  SWEEP_INTERVAL: '200ms',
  HEALTH_INTERVAL: '500ms',
  RETENTION: 'off',
  RETENTION_SETTING_UI: 'off',
};

const FAKETIME = '/usr/lib/x86_64-linux-gnu/faketime/libfaketime.so.1';

/** Whether the clock of a replica can be set (Debian's package `faketime`). */
export const hasFaketime = existsSync(FAKETIME);

/** What makes a process end with the one that has started it, also when that is killed. */
const MORTAL = existsSync('/usr/bin/setpriv') ? ['/usr/bin/setpriv', '--pdeathsig', 'KILL'] : [];

/** A replica that is a process of its own, and comes back under its address; its clients and its database reach it by cables. */
export class ServiceProcess implements Pick<Replica, 'controllers' | 'courses' | 'logs'>, AsyncDisposable {
  readonly controllers: Replica['controllers'];
  readonly courses: Replica['courses'];
  readonly logs: Replica['logs'];
  readonly toDatabase: Cable;
  readonly toClients: Cable;
  readonly #channel: Client;
  readonly #env: Record<string, string>;
  #start: Start;
  #process: Running | undefined;
  #serves = false;

  private constructor(toDatabase: Cable, toClients: Cable, start: Start, env: Record<string, string>) {
    this.toDatabase = toDatabase;
    this.toClients = toClients;
    this.#start = start;
    this.#env = env;
    this.#channel = new Client(this.address, credentials.createInsecure(), channelOptions);
    ({ controllers: this.controllers, courses: this.courses, logs: this.logs } = clients(this.#channel));
  }

  static async start(databaseUrl: string, start: Start = {}): Promise<ServiceProcess> {
    const url = new URL(databaseUrl);
    const toDatabase = await Cable.start(url);
    url.port = String(toDatabase.port);
    const LISTEN = `127.0.0.1:${await freePort()}`;
    const toClients = await Cable.start(new URL(`http://${LISTEN}`));
    const replica = new ServiceProcess(toDatabase, toClients, start, { DATABASE_URL: url.href, LISTEN });
    await replica.serve();
    return replica;
  }

  /** Where clients reach it. */
  get address(): string {
    return `127.0.0.1:${this.toClients.port}`;
  }

  /** Where it listens, without a cable. */
  get listens(): string {
    return this.#env['LISTEN']!;
  }

  /** What the processes have said so far that is not their readiness. */
  output(): string {
    return this.#process?.output() ?? '';
  }

  /** Whether it has ended although nobody has ended it. */
  get crashed(): boolean {
    const { exitCode, signalCode } = this.#process!.child;
    return this.#serves && (exitCode !== null || signalCode !== null);
  }

  async serve(start: Start = this.#start): Promise<void> {
    this.#start = start;
    const { sources, clockFile } = start;
    if (clockFile) writeFileSync(clockFile, '+0');
    const clock = clockFile && {
      LD_PRELOAD: FAKETIME,
      FAKETIME_TIMESTAMP_FILE: clockFile,
      FAKETIME_CACHE_DURATION: '1',
      FAKETIME_DONT_FAKE_MONOTONIC: '1',
    };
    const env = { ...settings, ...start.settings, ...this.#env, ...clock };
    const [command, ...args] = [...MORTAL, process.execPath, join(sources ?? '.', 'src/main.ts')];
    this.#process = run(command!, args, env);
    await ready(this.#process);
    this.#serves = true;
  }

  /** Ends it, and waits until it is gone. */
  async end(signal: 'SIGKILL' | 'SIGTERM'): Promise<void> {
    this.#serves = false;
    this.#process!.child.kill(signal);
    await this.#process!.exit();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#channel.close();
    await this.#process?.[Symbol.asyncDispose]();
    await this.toClients[Symbol.asyncDispose]();
    await this.toDatabase[Symbol.asyncDispose]();
  }
}

/** A client that notices a dead connection, and comes back soon. */
export const channelOptions = {
  'grpc.use_local_subchannel_pool': 1,
  'grpc.keepalive_time_ms': 1000,
  'grpc.keepalive_timeout_ms': 4000,
  'grpc.initial_reconnect_backoff_ms': 100,
  'grpc.max_reconnect_backoff_ms': 500,
  'grpc.max_receive_message_length': -1,
};
