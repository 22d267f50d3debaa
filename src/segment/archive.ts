import type { Pool } from 'pg';
import { atPrimary } from '../db/standby/standby.ts';
import { whileWanted } from '../db/wanted.ts';
import { ErrorReason, StatusError } from '../errors.ts';
import { Cache } from './cache.ts';
import { decodeSegment, digest } from './message.ts';
import { type SegmentRow, segmentColumns, toSegmentRow } from './row.ts';
import type { Segment } from './segment.ts';
import { type Store, unavailable } from './store.ts';

/** A log's entries: those in the table, and those that have left it. */
export type Logs = { readonly pool: Pool; readonly archive: Archive };

export type ArchiveOptions = {
  pool: Pool;
  /** Undefined where none is set: what is in segments is refused then, and never left out. */
  store: Store | undefined;
  /** How much of what was read last is kept, in bytes as it is in memory. */
  cacheBytes: number;
  /** Told of objects that are lost. */
  lost: (problem: Record<string, unknown>) => void;
};

/** Reads segments: by their rows which there are, from the store what is in them. */
export class Archive {
  readonly reads = { store: 0, cache: 0, unavailable: 0, lost: 0 };
  readonly #options: ArchiveOptions;
  readonly #cache: Cache<Segment>;

  constructor(options: ArchiveOptions) {
    this.#options = options;
    this.#cache = new Cache(options.cacheBytes, READS);
  }

  /** What is kept of it, in bytes. */
  get cachedBytes(): number {
    return this.#cache.bytes;
  }

  /** Up to so many segments of a log that have entries between two ids, in the order of those or against it. */
  async rows(
    backupId: string,
    { from, to, newestFirst = false }: { from: bigint; to: bigint; newestFirst?: boolean },
    limit: number,
  ): Promise<SegmentRow[]> {
    const { rows } = await this.#options.pool.query({
      name: `segments${newestFirst ? '-newest' : ''}`,
      text: `select ${segmentColumns} from backup_log_segments s
        where backupid = $1 and lastid >= $2 and firstid <= $3 order by lastid ${newestFirst ? 'desc' : ''} limit $4`,
      values: [backupId, from, to, limit],
    });
    return rows.map(row => toSegmentRow(row)!);
  }

  /** All segments of these logs, up to an id in each. */
  async rowsOf(upTo: ReadonlyMap<string, bigint>): Promise<SegmentRow[]> {
    if (upTo.size === 0) return [];
    const { rows } = await this.#options.pool.query({
      text: `select ${segmentColumns} from unnest($1::varchar[], $2::bigint[]) as wanted (backupid, upto)
        join backup_log_segments s on s.backupid = wanted.backupid and s.lastid <= wanted.upto order by s.backupid, s.lastid`,
      values: [[...upTo.keys()], [...upTo.values()]],
    });
    return rows.map(row => toSegmentRow(row)!);
  }

  /** The entries of a segment; undefined when it was removed meanwhile, with its log or by retention. */
  async open(row: SegmentRow): Promise<Segment | undefined> {
    const there = this.#cache.get(row.key);
    if (there) this.reads.cache++;
    return there ?? this.#cache.fill(row.key, () => this.#read(row));
  }

  /** Which of these texts match, upper and lower case alike: by the database, whose letters decide that for entries in the table. */
  async matching(messages: readonly string[], text: string): Promise<boolean[]> {
    const { rows } = await this.#options.pool.query(
      'select message ilike $2 as found from unnest($1::text[]) with ordinality as given (message, n) order by n',
      [messages, `%${text.replace(/[\\%_]/g, '\\$&')}%`],
    );
    return rows.map(({ found }) => found);
  }

  async #read(row: SegmentRow): Promise<Segment | undefined> {
    const { store } = this.#options;
    if (!store) throw unavailable('SEGMENT_STORE is not set on this replica');
    let problem = 'missing';
    // What was damaged on the way only is whole the second time.
    for (let attempt = 1; attempt <= 2; attempt++) {
      const object = await this.#fetch(store, row.key);
      if (!object && !(await this.#isKept(row))) return undefined;
      if (!object) continue;
      problem = 'damaged';
      const segment =
        digest(object).equals(row.checksum) && (await decodeSegment(row.backupId, object).catch(() => undefined));
      if (segment && segment.firstId <= row.firstId && segment.lastId === row.lastId) return segment;
    }
    throw this.#lost(row, problem, store.place);
  }

  async #fetch(store: Store, key: string): Promise<Buffer | undefined> {
    try {
      this.reads.store++;
      return await store.get(key, NEVER);
    } catch (error) {
      this.reads.unavailable++;
      throw error;
    }
  }

  async #isKept({ backupId, key }: SegmentRow): Promise<boolean> {
    const text = 'select from backup_log_segments where backupid = $1 and key = $2';
    // For all who wait for it, whoever came first; and a standby may have what the primary has removed.
    const ask = () => this.#options.pool.query({ text, values: [backupId, key] });
    const { rows } = await whileWanted(undefined, () => atPrimary(ask));
    return rows.length > 0;
  }

  #lost({ backupId, firstId, lastId, key }: SegmentRow, problem: string, place: string): StatusError {
    this.reads.lost++;
    const metadata = { backup_id: backupId, first_id: String(firstId), last_id: String(lastId), key, problem };
    this.#options.lost({ ...metadata, place });
    const which = `the entries ${firstId} to ${lastId} of ${backupId}`;
    return new StatusError(ErrorReason.SEGMENT_LOST, `${which} cannot be read: their object is ${problem}`, {
      metadata,
    });
  }
}

/** Readers of the same segment share it, so it is not given up with one of them; each request has a limit of its own. */
const NEVER = new AbortController().signal;

/** From the store at a time: what is being read is not counted by the cache yet. */
const READS = 4;
