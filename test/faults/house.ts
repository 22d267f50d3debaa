import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type EmbeddedPostgres, freePort, startEmbeddedPostgres } from '../../src/db/embedded.ts';
import type { Database } from '../support/database.ts';
import { eventually } from '../support/eventually.ts';
import { query } from '../support/query.ts';
import { ServiceProcess, type Start } from './service-process.ts';

/** A durable PostgreSQL and two replicas of the service, each a process of its own behind cables: to the database, and to its clients. */
export class House implements AsyncDisposable {
  readonly replicas: ServiceProcess[] = [];
  readonly folder = mkdtempSync(join(tmpdir(), 'backup-management-faults-'));
  readonly #port: string;
  #postgres: EmbeddedPostgres | undefined;

  private constructor(port: string) {
    this.#port = port;
  }

  /** One replica for each way to start one. */
  static async open(...starts: Start[]): Promise<House> {
    const house = new House(await freePort());
    try {
      await house.startPostgres();
      for (const start of starts) house.replicas.push(await ServiceProcess.start(house.url, start));
    } catch (error) {
      await house[Symbol.asyncDispose]();
      throw error;
    }
    return house;
  }

  get url(): string {
    return this.#postgres!.url;
  }

  /** The folder of the data of PostgreSQL. */
  get cluster(): string {
    return join(this.folder, 'postgres', 'cluster');
  }

  /** Truth by SQL, on a connection of its own that no cable is in the way of. */
  get database(): Pick<Database, 'url' | 'query'> {
    return { url: this.url, query: (sql, values) => query(this.url, sql, values) };
  }

  async startPostgres(): Promise<void> {
    const dataDir = join(this.folder, 'postgres');
    // Processes of one that was killed are there for a moment, and hold its shared memory.
    this.#postgres = await eventually(() => startEmbeddedPostgres({ dataDir, settings: { port: this.#port } }));
  }

  /** As an operator stops it: whoever is connected is cut off. */
  async stopPostgres(): Promise<void> {
    await this.#postgres![Symbol.asyncDispose]();
  }

  async killPostgres(): Promise<void> {
    process.kill(Number(readFileSync(join(this.cluster, 'postmaster.pid'), 'utf8').split('\n')[0]), 'SIGKILL');
    await this.stopPostgres();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const replica of this.replicas) await replica[Symbol.asyncDispose]();
    await this.#postgres?.[Symbol.asyncDispose]();
    rmSync(this.folder, { recursive: true, force: true });
  }
}
