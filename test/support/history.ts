import { strict as assert } from 'node:assert';
import { LogLevel } from '../../src/gen/backup/v1/entry_pb.ts';
import type { LogEntry, TailLogsResponse } from '../../src/gen/backup/v1/log_pb.ts';
import { TailEnd_Reason } from '../../src/gen/backup/v1/log_pb.ts';

type Event = TailLogsResponse['event'];

type Kind = NonNullable<Event['case']>;

type ValueOf<K extends Kind> = Extract<Event, { case: K }>['value'];

/** What one log really holds, by SQL. */
export type Truth = { backupid: unknown; id: unknown; loglevel: unknown; message: unknown }[];

/**
 * Everything that one subscriber was told, over all the streams that it opened with the tokens of the ones before, checked against the
 * promises of TailLogs while it comes in: ordered, unique, bookmarked, resumable, never cut in silence. `complete` checks the rest against
 * what the database holds.
 */
export class History {
  readonly events: Event[] = [];
  readonly entries: (LogEntry & { backupId: string })[] = [];
  /** The last token received. */
  token = '';
  readonly #maxLevel: number;
  /** By backup: everything up to this id was delivered or declared to be left out. */
  readonly #covered = new Map<string, bigint>();
  readonly #first = new Map<string, bigint>();
  #open = false;
  /** By backup, the last entry that came behind the last token; and up to where who has resumed then may get entries once more, and leaves them out. */
  readonly #untold = new Map<string, bigint>();
  readonly #repeatable = new Map<string, bigint>();

  constructor(maxLevel: number = LogLevel.DEBUG) {
    this.#maxLevel = maxLevel || LogLevel.DEBUG;
  }

  /** A new stream begins, at the start or at `token`. */
  opened(): void {
    this.#open = false;
    for (const [backupId, lastId] of this.#untold) this.#repeatable.set(backupId, lastId);
  }

  record({ event }: TailLogsResponse): void {
    this.events.push(event);
    // A stream that has to end before it could begin tells nothing, not even where it was.
    const early = event.case === 'started' || (event.case === 'end' && !event.value.resumeToken);
    if (!early) assert.ok(this.#open, `${event.case} before started`);
    if (tokenOf(event)) {
      this.token = tokenOf(event)!;
      // It starts where the one before was at its last token.
      if (event.case !== 'started') this.#untold.clear();
    }
    switch (event.case) {
      case 'started':
        assert.ok(!this.#open, 'started twice in one stream');
        this.#open = true;
        break;
      case 'entries':
        this.#deliver(event.value.backupId, event.value.entries);
        if (!event.value.resumeToken) this.#untold.set(event.value.backupId, event.value.entries.at(-1)!.id);
        break;
      case 'caughtUp':
      case 'checkpoint':
        for (const { backupId, lastId } of event.value.positions) this.#cover(backupId, lastId, event.case);
        break;
      case 'truncated':
        assert.equal(
          event.value.fromId,
          (this.#covered.get(event.value.backupId) ?? event.value.fromId - 1n) + 1n,
          'truncated elsewhere',
        );
        this.#covered.set(event.value.backupId, event.value.toId);
        this.#first.set(event.value.backupId, event.value.toId + 1n);
        break;
      case 'end':
        this.#open = false;
        break;
    }
  }

  /** Events of one kind. */
  all<K extends Kind>(kind: K): ValueOf<K>[] {
    return this.events.filter(event => event.case === kind).map(event => event.value as ValueOf<K>);
  }

  /** How the last stream ended, if it said so. */
  get end(): keyof typeof TailEnd_Reason | undefined {
    const last = this.events.at(-1);
    if (last?.case !== 'end') return undefined;
    return Object.entries(TailEnd_Reason).find(
      ([, number]) => number === last.value.reason,
    )![0] as keyof typeof TailEnd_Reason;
  }

  messages(): string[] {
    return this.entries.map(entry => entry.message);
  }

  /** Fails unless, from the first entry delivered on, everything in these logs that matches was delivered once, as it is. */
  complete(truth: Truth, { from = 1n }: { from?: bigint } = {}): void {
    const expected = truth
      .filter(row => Number(row.loglevel) <= this.#maxLevel)
      .filter(row => BigInt(row.id as string) >= (this.#first.get(row.backupid as string) ?? from))
      .map(row => `${row.backupid} ${row.id} ${row.loglevel} ${row.message}`);
    const delivered = this.entries
      .filter(entry => entry.id >= (this.#first.get(entry.backupId) ?? from))
      .map(entry => `${entry.backupId} ${entry.id} ${entry.level} ${entry.message}`);
    assert.equal(delivered.length, expected.length, 'entries delivered');
    assert.deepEqual(new Set(delivered), new Set(expected));
  }

  #deliver(backupId: string, entries: LogEntry[]): void {
    assert.ok(entries.length > 0, 'a message without entries');
    for (const entry of entries) {
      const before = this.#covered.get(backupId);
      if (entry.id <= (this.#repeatable.get(backupId) ?? 0n)) continue;
      if (entry.backupId !== '') assert.fail('the entry repeats the backup');
      if (entry.level > this.#maxLevel) assert.fail(`entry ${entry.id} does not match`);
      if (before !== undefined && entry.id <= before) assert.fail(`entry ${entry.id} of ${backupId} after ${before}`);
      if (before !== undefined && this.#maxLevel === LogLevel.DEBUG && entry.id !== before + 1n) {
        assert.fail(`a gap in ${backupId}: ${before}, then ${entry.id}`);
      }
      this.#covered.set(backupId, entry.id);
      this.entries.push({ ...entry, backupId });
    }
  }

  #cover(backupId: string, lastId: bigint, kind: string): void {
    const before = this.#covered.get(backupId) ?? 0n;
    assert.ok(lastId >= before, `${kind} at ${lastId}, but ${before} was delivered`);
    // Without a filter it may only confirm what was delivered: more would be a promise made too early.
    const seen = this.#covered.has(backupId);
    if (seen && this.#maxLevel === LogLevel.DEBUG)
      assert.equal(lastId, before, `${kind} at ${lastId}, but only ${before} was delivered`);
    this.#covered.set(backupId, lastId);
  }
}

function tokenOf({ value }: Event): string | undefined {
  return value && 'resumeToken' in value ? value.resumeToken || undefined : undefined;
}
