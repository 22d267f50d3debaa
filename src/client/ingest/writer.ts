import { randomUUID } from 'node:crypto';
import type { MessageInitShape } from '@bufbuild/protobuf';
import { timestampFromDate } from '@bufbuild/protobuf/wkt';
import type { LogLevel } from '../../gen/backup/v1/entry_pb.ts';
import { IngestEnd_ReasonSchema, type IngestLogsRequestSchema, type LogService } from '../../gen/backup/v1/log_pb.ts';
import type { ServiceClient } from '../calls.ts';
import { RpcError } from '../error.ts';
import { type ReconnectOptions, Reconnects } from '../reconnect.ts';
import { Changes } from './changes.ts';
import { legible } from './legible.ts';
import { Pile } from './pile.ts';

/** Who writes, and to which log. */
export type IngestOptions = ReconnectOptions & {
  backupId: string;
  /** Of a worker: entries are kept only while it holds the lease. */
  leaseToken?: string;
  /** A UUID that no other writer of this log has; else a new one. */
  writerId?: string;
  /** Bytes that may wait for the service before `write` waits, too; else 4 MiB. */
  maxBytes?: number;
};

/**
 * Appends entries in their order, each once, over as many streams as it takes. What was written is kept until the service has acknowledged it, and sent
 * again where it has not. A stream is opened when there is something to write.
 *
 * When it fails for good (LEASE_LOST, a refusal, nobody there for too long) all that waits fails, and so does every later write.
 */
export class LogWriter implements AsyncDisposable {
  /** Entries that the service has left out because it keeps none of their level, as far as it has told. */
  dropped = 0;
  readonly #logs: ServiceClient<typeof LogService>;
  readonly #options: IngestOptions;
  readonly #writerId: string;
  readonly #pile = new Pile();
  readonly #changes = new Changes();
  #sending: Promise<void> | undefined;
  #failure: { error: unknown } | undefined;
  #closed = false;

  constructor(logs: ServiceClient<typeof LogService>, options: IngestOptions) {
    this.#logs = logs;
    this.#options = options;
    this.#writerId = options.writerId ?? randomUUID();
  }

  /** Entries that are durable, or were dropped. */
  get acknowledged(): number {
    return this.#pile.acknowledged;
  }

  /**
   * Resolves at once while there is room, which says nothing about the entry yet. What a log cannot hold is replaced: NUL and lone surrogates, and
   * what comes behind a MiB.
   */
  async write(level: LogLevel, message: string, time = new Date()): Promise<void> {
    this.#options.signal?.throwIfAborted();
    if (this.#closed) throw new Error('the writer is closed');
    if (this.#failure) throw this.#failure.error;
    this.#pile.add({ level, message: legible(message), createTime: timestampFromDate(time) });
    this.#sending ??= this.#send();
    this.#changes.tell();
    const { maxBytes = 4 * 1024 * 1024 } = this.#options;
    if (this.#pile.bytes > maxBytes) await this.#until(() => this.#pile.bytes <= maxBytes);
  }

  /** Resolves when all that was written until now is durable. */
  async flush(): Promise<void> {
    const { added } = this.#pile;
    await this.#until(() => this.#pile.acknowledged >= added);
  }

  /** Resolves when everything is durable. Nothing more can be written. */
  async close(): Promise<void> {
    this.#closed = true;
    this.#changes.tell();
    await this.#sending;
    if (this.#failure) throw this.#failure.error;
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  async #until(condition: () => boolean): Promise<void> {
    await this.#changes.until(() => this.#failure !== undefined || condition());
    if (this.#failure) throw this.#failure.error;
  }

  async #send(): Promise<void> {
    const reconnects = new Reconnects(this.#options);
    try {
      for (;;) {
        await this.#changes.until(() => !this.#pile.empty || this.#closed);
        if (this.#pile.empty) return;
        const { reason, broken } = await this.#stream(reconnects);
        if (!this.#pile.empty) await reconnects.after(reason, broken);
      }
    } catch (error) {
      this.#failure = { error };
      this.#changes.tell();
    }
  }

  /** One stream, and why it has ended. */
  async #stream(reconnects: Reconnects): Promise<{ reason?: string; broken?: unknown }> {
    const { signal } = this.#options;
    const stream: Stream = { last: undefined, over: false };
    try {
      for await (const { event } of this.#logs.ingestLogs(this.#requests(stream), signal ? { signal } : {})) {
        reconnects.heard();
        if (event.case === 'end')
          return { reason: IngestEnd_ReasonSchema.value[event.value.reason]?.localName ?? 'END' };
        if (event.case === 'started') {
          this.#pile.begin(event.value.lastNumber);
          stream.last = event.value.lastNumber;
        }
        if (event.case === 'acknowledged') {
          this.#pile.acknowledge(event.value.lastNumber);
          this.dropped += event.value.dropped;
        }
        this.#changes.tell();
      }
      return {};
    } catch (broken) {
      // The log was deleted: what is still here begins it anew.
      const forgotten = broken instanceof RpcError && broken.reason === 'WRITER_FORGOTTEN';
      return { broken, ...(forgotten && { reason: broken.reason! }) };
    } finally {
      stream.over = true;
      this.#changes.tell();
    }
  }

  async *#requests(stream: Stream): AsyncGenerator<MessageInitShape<typeof IngestLogsRequestSchema>> {
    const { backupId, leaseToken = '' } = this.#options;
    yield { request: { case: 'start', value: { backupId, writerId: this.#writerId, leaseToken } } };
    await this.#changes.until(() => stream.over || stream.last !== undefined);
    for (let number = (stream.last ?? 0n) + 1n; !stream.over; number++) {
      await this.#changes.until(() => stream.over || this.#closed || this.#pile.has(number));
      const batch = this.#pile.batch(number);
      if (stream.over || !batch) return;
      yield { request: { case: 'batch', value: { number, entries: batch.entries } } };
    }
  }
}

/** What its service has kept before it, and whether it has ended. */
type Stream = { last: bigint | undefined; over: boolean };
