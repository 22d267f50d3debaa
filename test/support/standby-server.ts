import { spawnSync } from 'node:child_process';
import {
  copyFileSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import pg from 'pg';
import { type EmbeddedPostgres, freePort, startEmbeddedPostgres } from '../../src/db/embedded.ts';
import { migrate } from '../../src/db/migrate.ts';
import type { Database } from './database.ts';
import { eventually } from './eventually.ts';
import { fastFolder } from './fast-folder.ts';
import { query } from './query.ts';

/** One of the two standbys that a pair may have. */
type Name = 'standby' | 'second';

/** A PostgreSQL of a test's own, with one migrated database, and a hot standby of it that streams. */
export class Pair implements AsyncDisposable {
  readonly #folder = mkdtempSync(join(fastFolder(), 'backup-management-standby-'));
  readonly #ports: Record<Name, string>;
  readonly #servers = new Map<Name | 'primary', EmbeddedPostgres>();

  private constructor(ports: Record<Name, string>) {
    this.#ports = ports;
  }

  static async start(): Promise<Pair> {
    const pair = new Pair({ standby: await freePort(), second: await freePort() });
    try {
      await pair.#startPrimary();
      await migrate(pair.primary.url);
      await pair.primary.query(READER);
      await pair.copy();
      await pair.startStandby();
    } catch (error) {
      await pair[Symbol.asyncDispose]();
      throw error;
    }
    return pair;
  }

  get primary(): Database {
    return server(this.#servers.get('primary')!.url);
  }

  get standby(): Database {
    return this.#at('standby');
  }

  /** Stops a standby from following, until it is told to go on. */
  pause(name: Name = 'standby'): Promise<unknown> {
    // What is replayed at the time may have any statement there cancelled.
    return eventually(() => this.#at(name).query('select pg_wal_replay_pause()'));
  }

  resume(name: Name = 'standby'): Promise<unknown> {
    return eventually(() => this.#at(name).query('select pg_wal_replay_resume()'));
  }

  /** It, for a role that may read the tables and nothing else. */
  get readUrl(): string {
    return Object.assign(new URL(this.standby.url), { username: 'reader', password: 'reader' }).href;
  }

  /** That of `copy('second')`. */
  get second(): Database {
    return this.#at('second');
  }

  /** A base backup, by hand: the embedded PostgreSQL comes without a pg_basebackup. */
  async copy(name: Name = 'standby'): Promise<void> {
    const [from, to] = [this.#home('primary'), this.#home(name)];
    mkdirSync(to);
    const client = new pg.Client({ connectionString: this.primary.url });
    await client.connect();
    try {
      await client.query("select pg_backup_start('standby', true)");
      const copied = spawnSync('cp', ['-a', join(from, 'cluster'), join(to, 'cluster')], { encoding: 'utf8' });
      if (copied.status !== 0) throw new Error(copied.stderr);
      const { rows } = await client.query('select labelfile from pg_backup_stop(false)');
      writeFileSync(join(to, 'cluster', 'backup_label'), rows[0].labelfile);
    } finally {
      await client.end();
    }
    copyFileSync(join(from, 'password'), join(to, 'password'));
    for (const name of ['postmaster.pid', 'postmaster.opts']) rmSync(join(to, 'cluster', name), { force: true });
    writeFileSync(join(to, 'cluster', 'standby.signal'), '');
    const { uid, gid } = statSync(join(to, 'cluster'));
    const made = ['cluster/backup_label', 'cluster/standby.signal'].map(name => join(to, name));
    if (process.getuid?.() === 0) spawnSync('chown', [`${uid}:${gid}`, ...made]);
    if (!existsSync(join(to, 'cluster', 'PG_VERSION'))) throw new Error('nothing was copied');
  }

  /** Follows the primary, or another standby that has become one. */
  async startStandby(name: Name = 'standby', upstream: Database = this.primary): Promise<void> {
    const { hostname, port, username, password } = new URL(upstream.url);
    const settings = {
      port: this.#ports[name],
      primary_conninfo: `host=${hostname} port=${port} user=${username} password=${password}`,
      // So that one which was cut off comes back at once.
      wal_retrieve_retry_interval: '100ms',
      max_standby_streaming_delay: '0',
    };
    const dataDir = this.#home(name);
    // Processes of one that was killed are there for a moment.
    const started = await eventually(() => startEmbeddedPostgres({ dataDir, durable: false, settings }));
    this.#servers.set(name, started);
  }

  /** As an operator stops it: what it has written goes to those who follow it first. */
  async stop(name: Name | 'primary'): Promise<void> {
    await this.#servers.get(name)![Symbol.asyncDispose]();
  }

  /** Without a word to anybody, its processes included. */
  async killStandby(): Promise<void> {
    const pidFile = join(this.#home('standby'), 'cluster', 'postmaster.pid');
    process.kill(Number(readFileSync(pidFile, 'utf8').split('\n')[0]), 'SIGKILL');
    await this.stop('standby');
  }

  /** The standby has all that the primary has. */
  async level(): Promise<void> {
    const [there] = await this.primary.query('select pg_current_wal_flush_lsn() as lsn');
    await eventually(async () => {
      const [row] = await this.standby.query('select pg_last_wal_replay_lsn() >= $1::pg_lsn as reached', [
        there!['lsn'],
      ]);
      if (!row!['reached']) throw new Error('the standby is behind');
    });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    // The primary last: it waits for those who follow it.
    for (const started of [...this.#servers.values()].reverse()) await started[Symbol.asyncDispose]();
    rmSync(this.#folder, { recursive: true, force: true });
  }

  async #startPrimary(): Promise<void> {
    // What is answered is in the log then, which is all that a standby is compared with.
    const settings = { synchronous_commit: 'on', wal_keep_size: '256MB' };
    const dataDir = this.#home('primary');
    this.#servers.set('primary', await startEmbeddedPostgres({ dataDir, durable: false, settings }));
  }

  #at(name: Name): Database {
    return server(Object.assign(new URL(this.primary.url), { port: this.#ports[name] }).href);
  }

  #home(which: Name | 'primary'): string {
    return join(this.#folder, which);
  }
}

/** All that is needed to read there. */
const READER = `create role reader login password 'reader'; grant select on all tables in schema public to reader`;

function server(url: string): Database {
  return { url, query: (sql, values) => query(url, sql, values), async [Symbol.asyncDispose]() {} };
}
