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

/** A PostgreSQL of a test's own and a hot standby of it that streams, with one migrated database. */
export class Pair implements AsyncDisposable {
  readonly #folder = mkdtempSync(join(fastFolder(), 'backup-management-standby-'));
  readonly #port: string;
  #primary: EmbeddedPostgres | undefined;
  #standby: EmbeddedPostgres | undefined;

  private constructor(port: string) {
    this.#port = port;
  }

  static async start(): Promise<Pair> {
    const pair = new Pair(await freePort());
    try {
      await pair.startPrimary();
      await migrate(pair.primary.url);
      await pair.#copy();
      await pair.startStandby();
    } catch (error) {
      await pair[Symbol.asyncDispose]();
      throw error;
    }
    return pair;
  }

  get primary(): Database {
    return server(this.#primary!.url);
  }

  get standby(): Database {
    return server(new URL(this.#primary!.url.replace(/:\d+\//, `:${this.#port}/`)).href);
  }

  async startPrimary(): Promise<void> {
    // What is answered is in the log then, which is all that a standby is compared with.
    const settings = { synchronous_commit: 'on', wal_keep_size: '256MB' };
    this.#primary = await startEmbeddedPostgres({ dataDir: this.#home('primary'), durable: false, settings });
  }

  async startStandby(settings: Record<string, string> = {}): Promise<void> {
    const { hostname, port, username, password } = new URL(this.#primary!.url);
    this.#standby = await eventually(
      () =>
        startEmbeddedPostgres({
          dataDir: this.#home('standby'),
          durable: false,
          settings: {
            port: this.#port,
            primary_conninfo: `host=${hostname} port=${port} user=${username} password=${password}`,
            // So that one which was cut off comes back at once.
            wal_retrieve_retry_interval: '100ms',
            max_standby_streaming_delay: '0',
            ...settings,
          },
        }),
      30_000,
    );
  }

  /** Without a word to anybody, its processes included. */
  async killStandby(): Promise<void> {
    const pidFile = join(this.#home('standby'), 'cluster', 'postmaster.pid');
    process.kill(Number(readFileSync(pidFile, 'utf8').split('\n')[0]), 'SIGKILL');
    await this.#standby![Symbol.asyncDispose]();
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
    await this.#standby?.[Symbol.asyncDispose]();
    await this.#primary?.[Symbol.asyncDispose]();
    rmSync(this.#folder, { recursive: true, force: true });
  }

  #home(which: 'primary' | 'standby'): string {
    return join(this.#folder, which);
  }

  /** A base backup, by hand: the embedded PostgreSQL comes without a pg_basebackup. */
  async #copy(): Promise<void> {
    const [from, to] = [this.#home('primary'), this.#home('standby')];
    mkdirSync(to);
    const client = new pg.Client({ connectionString: this.#primary!.url });
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
}

function server(url: string): Database {
  return {
    url,
    async query(sql, values = []) {
      const client = new pg.Client({ connectionString: url });
      await client.connect();
      try {
        return (await client.query(sql, values)).rows;
      } finally {
        await client.end();
      }
    },
    async [Symbol.asyncDispose]() {},
  };
}
