import { Batcher, type Probe } from '../batch.ts';
import type { Row, Sql } from '../db/sql.ts';
import { fromRow, type Shown, shownColumns } from './row.ts';

/** Reads controllers by their ids, without payloads. Those that are asked for at the same time are read by one statement. */
export class Reader {
  readonly #sql: Sql;
  readonly #reads: Batcher<string, Shown | undefined>;

  /** `mostWaiting` reads may wait; more are refused. */
  constructor(sql: Sql, { mostWaiting, probe }: { mostWaiting: number; probe?: Probe | undefined }) {
    this.#sql = sql;
    this.#reads = new Batcher(
      async backupIds => {
        const found = await this.readAll(backupIds);
        return backupIds.map(backupId => found.get(backupId));
      },
      { name: 'read', probe, lanes: 2, weight: 200, weigh: () => 1, most: mostWaiting },
    );
  }

  /** As it is when this is asked, or later; undefined when there is none. */
  read(backupId: string, signal: AbortSignal): Promise<Shown | undefined> {
    return this.#reads.submit(backupId, signal);
  }

  /** By id; those that there are. (`em.find` takes 13 times as long for a row.) */
  async readAll(backupIds: readonly string[]): Promise<Map<string, Shown>> {
    const rows = await this.#sql<Row>({
      name: 'read-controllers',
      text: `select ${shownColumns} from backup_controllers c where c.backupid = any($1::varchar[])`,
      values: [backupIds],
    });
    return new Map(rows.map(row => [row['backupid'] as string, fromRow(row)]));
  }
}
