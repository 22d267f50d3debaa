import type { TailLogsResponse } from '../gen/backup/v1/log_pb.ts';

/** What a tail tells. */
export type TailEvent = Exclude<TailLogsResponse['event'], { case: undefined }>;

/**
 * Where a tail is: the last token, and which entries have passed behind it. In a tail by filter, or of everything, entries come without a token while
 * more is about to come, and the stream after one that breaks then begins with them again.
 */
export class TailPosition {
  /** As the service gave it; empty when there was none yet. */
  token: string;
  /** Last id of each log that has passed behind the token of this stream, and of earlier ones. */
  readonly #now = new Map<string, bigint>();
  readonly #before: Map<string, bigint>;

  constructor(resumeToken = '') {
    const [token = '', behind = ''] = resumeToken.split(BETWEEN);
    const ids = behind ? behind.split(',').map(one => one.split(':') as [string, string]) : [];
    this.token = token;
    this.#before = new Map(ids.map(([backupId, id]) => [backupId, BigInt(id)]));
  }

  get resumeToken(): string {
    const behind = [...new Map([...this.#before, ...this.#now])];
    if (behind.length === 0) return this.token;
    return this.token + BETWEEN + behind.map(([backupId, id]) => `${backupId}:${id}`).join(',');
  }

  /** The event without the entries that have passed already; undefined when nothing is left of it, or it is of a kind that is not known here. */
  fresh(event: TailLogsResponse['event']): TailEvent | undefined {
    if (event.case === undefined) return undefined;
    if (event.case !== 'entries') return event;
    const { backupId, entries } = event.value;
    const last = this.#before.get(backupId) ?? 0n;
    if (entries[0]!.id > last) return event;
    const fresh = entries.filter(({ id }) => id > last);
    return fresh.length > 0 ? { case: 'entries', value: { ...event.value, entries: fresh } } : undefined;
  }

  passed(event: TailLogsResponse['event']): void {
    if (event.case === 'started') {
      for (const [backupId, id] of this.#now) this.#before.set(backupId, id);
      this.#now.clear();
    }
    const token = event.value && 'resumeToken' in event.value ? event.value.resumeToken : '';
    if (token) {
      this.token = token;
      this.#now.clear();
      // Only now everything has come that an earlier stream may have told before.
      if (event.case === 'caughtUp') this.#before.clear();
    } else if (event.case === 'entries') {
      const { backupId, entries } = event.value;
      const last = entries.at(-1)!.id;
      if (last > (this.#before.get(backupId) ?? 0n)) this.#now.set(backupId, last);
    }
  }
}

/** Tokens of the service are base64url, which has no such character. */
const BETWEEN = '~';
