import { strict as assert } from 'node:assert';
import pg from 'pg';
import { Batcher } from '../../../src/batch.ts';
import type { Controller } from '../../../src/gen/backup/v1/controller_pb.ts';
import { LogLevel } from '../../../src/gen/backup/v1/entry_pb.ts';
import { sweep } from '../../../src/work/sweep.ts';
import type { Backend } from '../backend.ts';
import { eventually } from '../eventually.ts';

/** A controller as it is read, and what only the database shows of it. */
export type Seen = {
  controller: Controller;
  payload: boolean;
  sealedId: bigint | undefined;
  lastId: bigint;
  /** Entries of the levels ERROR and WARNING, as level and attempt. */
  warnings: string[];
};

/** Reads runs and takes leases away; what is asked for at the same time goes together, which halves the time of the test. */
export class Books implements AsyncDisposable {
  readonly #backend: Backend;
  readonly #pool: pg.Pool;
  readonly #reads = new Batcher((ids: string[]) => this.#read(ids), together);
  readonly #losses = new Batcher((ids: string[]) => this.#lose(ids), together);

  constructor(backend: Backend) {
    this.#backend = backend;
    this.#pool = new pg.Pool({ connectionString: backend.database.url, max: 4 });
  }

  /** Undefined when there is no controller. */
  read(backupId: string): Promise<Seen | undefined> {
    return this.#reads.submit(backupId);
  }

  /** Lets the lease end now, and waits until that was dealt with. */
  lose(backupId: string): Promise<void> {
    return this.#losses.submit(backupId);
  }

  async #read(backupIds: string[]): Promise<(Seen | undefined)[]> {
    const [{ controllers }, { rows }] = await Promise.all([
      this.#backend.controllers.batchGetControllers({ backupIds }),
      this.#pool.query({ name: 'see', text: SEE, values: [backupIds] }),
    ]);
    const found = new Map(controllers.map(controller => [controller.backupId, controller]));
    return rows.map(({ backupid, payload, sealedid, lastid, warnings }) => {
      const controller = found.get(backupid);
      const sealedId = sealedid === null ? undefined : BigInt(sealedid);
      return controller && { controller, payload, sealedId, lastId: BigInt(lastid ?? 0), warnings: warnings ?? [] };
    });
  }

  async #lose(backupIds: string[]): Promise<undefined[]> {
    await this.#pool.query('update backup_controllers set leaseexpires = 1 where backupid = any ($1)', [backupIds]);
    const held = 'select 1 from backup_controllers where backupid = any ($1) and leasetoken is not null';
    // A round of the service's own may be under way, and may have begun before.
    await eventually(async () => {
      await sweep(this.#pool, 0);
      assert.equal((await this.#pool.query(held, [backupIds])).rowCount, 0);
    });
    return backupIds.map(() => undefined);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#pool.end();
  }
}

const together = { name: 'books', lanes: 1, weight: 100, weigh: () => 1, most: Number.POSITIVE_INFINITY };

// Logs are looked up for themselves: Citus joins no list with tables of several nodes.
const SEE = `
  with head as materialized (
    select backupid, lastid, sealedid from backup_log_heads where backupid = any ($1)
  ), warned as materialized (
    select backupid, array_agg(loglevel || '@' || attempt order by id) as warnings from backup_logs
    where backupid = any ($1) and loglevel <= ${LogLevel.WARNING} group by backupid
  )
  select wanted.backupid, head.lastid, head.sealedid, c.controller <> '' as payload, warned.warnings
  from unnest($1::varchar[]) with ordinality as wanted (backupid, n)
  left join head using (backupid) left join warned using (backupid) left join backup_controllers c using (backupid) order by n`;
