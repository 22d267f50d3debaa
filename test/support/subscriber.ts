import type { MessageInitShape } from '@bufbuild/protobuf';
import type { ServiceError } from '@grpc/grpc-js';
import type { TailLogsRequestSchema } from '../../src/gen/backup/v1/log_pb.ts';
import type { Replica } from './backend.ts';
import { eventually } from './eventually.ts';
import { History } from './history.ts';

type Request = MessageInitShape<typeof TailLogsRequestSchema>;

/** A client that tails, and keeps the history of what it was told. */
export class Subscriber implements AsyncDisposable {
  readonly history: History;
  /** Resolves when the stream is over: with the error that it ended with, if any. */
  readonly done: Promise<ServiceError | undefined>;
  readonly request: Request;
  readonly #abort = new AbortController();
  #error: Error | undefined;

  constructor(replica: Pick<Replica, 'logs'>, request: Request, history?: History, timeoutMs?: number) {
    this.request = request;
    this.history = history ?? new History(request.maxLevel);
    this.history.opened();
    const options = { signal: this.#abort.signal, ...(timeoutMs && { timeoutMs }) };
    const read = async () => {
      for await (const response of replica.logs.tailLogs(request, options)) this.history.record(response);
      return undefined;
    };
    this.done = read().catch((error: ServiceError) => {
      this.#error = error;
      return error;
    });
  }

  /** Resolves when the stream is over, and fails with the error that it ended with, if any. */
  async over(): Promise<void> {
    const error = await this.done;
    if (error) throw error;
  }

  /** Waits until this many entries have come, over all streams of the history. */
  async received(count: number, ms?: number): Promise<void> {
    await eventually(() => {
      if (this.history.entries.length >= count) return;
      const broken = this.#error ? `, and then: ${this.#error.message}` : '';
      throw new Error(`${this.history.entries.length} of ${count} entries have come${broken}`);
    }, ms);
  }

  /** Waits until an event of this kind has come. */
  async told(kind: NonNullable<History['events'][number]['case']>, count = 1, ms?: number): Promise<void> {
    await eventually(() => {
      if (this.history.all(kind).length < count)
        throw new Error(`no ${kind} has come, only ${this.history.events.map(e => e.case)}`);
    }, ms);
  }

  /** Goes on with the last token, on this replica or another. */
  resume(replica: Pick<Replica, 'logs'>): Subscriber {
    const start = { case: 'resumeToken', value: this.history.token } as const;
    return new Subscriber(replica, { ...this.request, start }, this.history);
  }

  async cancel(): Promise<void> {
    this.#abort.abort();
    await this.done;
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.cancel();
  }
}
