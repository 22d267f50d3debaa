import type { MessageInitShape } from '@bufbuild/protobuf';
import { timestampFromDate } from '@bufbuild/protobuf/wkt';
import type { LogLevel } from '../gen/backup/v1/entry_pb.ts';
import {
  type LogService,
  TailEnd_Reason,
  TailEnd_ReasonSchema,
  type TailFilterSchema,
  type TailLogsRequestSchema,
} from '../gen/backup/v1/log_pb.ts';
import type { ServiceClient } from './calls.ts';
import { type ReconnectOptions, Reconnects } from './reconnect.ts';
import type { TailEvent } from './tail-position.ts';
import { TailPosition } from './tail-position.ts';

/** Which logs, from where and for how long. One of `backupIds`, `filter` and `everything` is needed. */
export type TailOptions = ReconnectOptions & {
  /** Up to 100. */
  backupIds?: string[];
  /** The logs of all controllers that match, now or later. */
  filter?: MessageInitShape<typeof TailFilterSchema>;
  everything?: boolean;
  /** Only entries at this level or a more important one. */
  maxLevel?: LogLevel;
  /** Else at the beginning. */
  start?: TailStart;
  /** Goes on with what comes; else it ends after what is there. */
  follow?: boolean;
  /** Follows, and ends when all `backupIds` have finished and their last entries were delivered. */
  untilFinished?: boolean;
};

/** With the last n entries of each log, with the first one since a time, after an id (of a single log), or where another tail was. */
export type TailStart = { last: number } | { since: Date } | { afterId: bigint } | { resumeToken: string };

/**
 * The events of some logs, each entry once and in the order of ids within its log, over as many streams as it takes. An event counts as dealt with
 * when the next one is asked for, and only then the tail moves on.
 *
 * `started`, `caughtUp` and `state` come with every stream; ends are told when they are ends of the tail, and that of a log that was deleted.
 * Fails with an `RpcError` when the service refuses (HISTORY_DIVERGED: start from the beginning) or is away for too long.
 */
export class Tail implements AsyncIterable<TailEvent> {
  readonly #logs: ServiceClient<typeof LogService>;
  readonly #options: TailOptions;
  readonly #position: TailPosition;

  constructor(logs: ServiceClient<typeof LogService>, options: TailOptions) {
    const { start } = options;
    this.#logs = logs;
    this.#options = options;
    this.#position = new TailPosition(start && 'resumeToken' in start ? start.resumeToken : '');
  }

  /**
   * Where the tail is: a new one starts there (`start`), in another process and at another replica, too. Empty until the service has told the first.
   * The event that is being dealt with is behind it.
   */
  get resumeToken(): string {
    return this.#position.resumeToken;
  }

  async *[Symbol.asyncIterator](): AsyncGenerator<TailEvent, void, undefined> {
    const { signal, backupIds = [] } = this.#options;
    const reconnects = new Reconnects(this.#options);
    const deleted = new Set<string>();
    for (;;) {
      let reason: string | undefined;
      let broken: unknown;
      try {
        const wanted = backupIds.filter(id => !deleted.has(id));
        for await (const { event } of this.#logs.tailLogs(this.#request(wanted), signal ? { signal } : {})) {
          reconnects.heard();
          const fresh = this.#position.fresh(event);
          const interrupted = event.case === 'end' && INTERRUPTIONS.has(event.value.reason);
          if (fresh && !interrupted) yield fresh;
          this.#position.passed(event);
          if (event.case !== 'end') continue;
          if (event.value.reason === TailEnd_Reason.DELETED) deleted.add(event.value.backupId);
          else if (!interrupted) return;
          reason = TailEnd_ReasonSchema.value[event.value.reason]?.localName;
          break;
        }
      } catch (error) {
        broken = error;
      }
      if (deleted.size > 0 && deleted.size === backupIds.length) return;
      await reconnects.after(reason, broken);
    }
  }

  #request(backupIds: string[]): MessageInitShape<typeof TailLogsRequestSchema> {
    const { filter, everything = false, maxLevel, follow = false, untilFinished = false } = this.#options;
    const which = { backupIds, everything, ...(filter && { filter }), ...(maxLevel && { maxLevel }) };
    return { ...which, follow, untilFinished, start: this.#start() };
  }

  #start(): MessageInitShape<typeof TailLogsRequestSchema>['start'] & object {
    const { start } = this.#options;
    const { token } = this.#position;
    if (token) return { case: 'resumeToken', value: token };
    if (!start || 'resumeToken' in start) return { case: undefined };
    if ('last' in start) return { case: 'last', value: start.last };
    if ('since' in start) return { case: 'since', value: timestampFromDate(start.since) };
    return { case: 'afterId', value: start.afterId };
  }
}

/** Ends of streams, not of tails. */
const INTERRUPTIONS = new Set<TailEnd_Reason>([
  TailEnd_Reason.MAX_AGE,
  TailEnd_Reason.DRAINING,
  TailEnd_Reason.SLOW_CONSUMER,
  TailEnd_Reason.TOKEN_EXPIRED,
]);
