import { strict as assert } from 'node:assert';
import { parseLocation } from '../../../src/segment/location.ts';
import { decodeSegment } from '../../../src/segment/message.ts';
import { openStore } from '../../../src/segment/open.ts';
import type { Store } from '../../../src/segment/store.ts';
import type { Truth } from '../../support/history.ts';
import { account, type S3 } from '../../support/s3.ts';
import { truthOf } from '../../support/writing.ts';
import type { House } from '../house.ts';

export const BUCKET = 'logs';

/** What is really there, in the database and in the bucket, asked without the service and without a fault in the way. */
export class Books {
  readonly #database: House['database'];
  readonly #s3: S3;
  readonly #store: Store;

  private constructor(database: House['database'], s3: S3, store: Store) {
    this.#database = database;
    this.#s3 = s3;
    this.#store = store;
  }

  static async open({ database }: House, s3: S3): Promise<Books> {
    const { AWS_ACCESS_KEY_ID: accessKeyId, AWS_SECRET_ACCESS_KEY: secretAccessKey } = account;
    const location = parseLocation(`s3://${BUCKET}?endpoint=${s3.endpoint}`);
    return new Books(
      database,
      s3,
      await openStore(location, { accessKeyId, secretAccessKey, sessionToken: undefined }),
    );
  }

  /** Which of these logs have been moved as far as they may be. */
  async moved(backupIds: string[]): Promise<string[]> {
    const rows = await this.#database.query(
      'select backupid from backup_log_heads where backupid = any ($1) and movedid >= least(sealedid, lastid - 1)',
      [backupIds],
    );
    return rows.map(({ backupid }) => String(backupid));
  }

  /** Objects that are neither part of a log nor written down as ones to remove. */
  async forgotten(): Promise<string[]> {
    const there = this.#s3.keys();
    const known = new Set(await this.#keys('backup_log_segments union select key from backup_segment_removals'));
    const unknown = there.filter(key => !known.has(key));
    // What was struck out as removed meanwhile is there no more.
    const still = new Set(this.#s3.keys());
    return unknown.filter(key => still.has(key));
  }

  /** Fails unless those logs are moved, nothing is left of these, and the bucket has what logs are made of and nothing else. */
  async settled(kept: string[], doomed: ReadonlyMap<string, string>): Promise<void> {
    const moved = new Set(await this.moved(kept));
    assert.deepEqual(
      kept.filter(backupId => !moved.has(backupId)),
      [],
      'logs that are not moved',
    );
    const left = await this.#database.query(
      `select backupid from backup_logs where backupid = any ($1) union select backupid from backup_log_segments where backupid = any ($1)`,
      [[...doomed.keys()]],
    );
    assert.deepEqual(
      left.map(({ backupid }) => `${backupid} ${doomed.get(String(backupid))}`),
      [],
      'logs that were to be removed',
    );
    assert.deepEqual(await this.#keys('backup_segment_removals'), []);
    assert.deepEqual(this.#s3.keys().toSorted(), (await this.#keys('backup_log_segments')).toSorted());
  }

  /** All entries of these logs: rows, and what objects hold. */
  async truth(backupIds: string[]): Promise<{ entries: Truth; segments: number }> {
    const rows = await this.#database.query(
      `select s.backupid, key, s.firstid, lastid from backup_log_segments s where backupid = any ($1)`,
      [backupIds],
    );
    const moved: Truth[] = [];
    for (const row of rows) moved.push(await this.#entriesOf(row as Record<string, string>));
    const table = await truthOf(this.#database as Parameters<typeof truthOf>[0], backupIds);
    const byId = (one: Truth[number], other: Truth[number]) => Number(one.id) - Number(other.id);
    const entries = [...Map.groupBy([...moved.flat(), ...table], ({ backupid }) => backupid).values()];
    return { entries: entries.flatMap(log => log.toSorted(byId)), segments: rows.length };
  }

  async #entriesOf({ backupid, key, firstid, lastid }: Record<string, string>): Promise<Truth> {
    const object = await this.#store.get(key!, new AbortController().signal);
    assert.ok(object, `${key} is not there`);
    const segment = await decodeSegment(backupid!, object);
    return [...segment.entries(BigInt(firstid!), BigInt(lastid!))].map(({ id, level, message }) => ({
      backupid,
      id: String(id),
      loglevel: level,
      message: message.toString(),
    }));
  }

  async #keys(table: string): Promise<string[]> {
    return (await this.#database.query(`select key from ${table}`)).map(({ key }) => String(key));
  }
}
