import { strict as assert } from 'node:assert';
import { type MessageInitShape, toBinary } from '@bufbuild/protobuf';
import type { ServiceError } from '@grpc/grpc-js';
import {
  type Controller,
  ControllerSchema,
  type WatchControllersRequestSchema,
  type WatchControllersResponse,
  WatchEnd_Reason,
} from '../../../src/gen/backup/v1/controller_pb.ts';
import type { Replica } from '../../support/backend.ts';
import { eventually } from '../../support/eventually.ts';

type Request = MessageInitShape<typeof WatchControllersRequestSchema>;

/** How new a state is: the number of the row, then its revision. */
type Age = { id: bigint; revision: number };

type Watching = Pick<Replica, 'controllers'>;

/** What a reader of WatchControllers knows: the controllers as it was told of them, over all streams that it opened one after the other. */
export class Picture implements AsyncDisposable {
  readonly controllers = new Map<string, Controller>();
  /** Every message of all streams. */
  readonly messages: WatchControllersResponse[] = [];
  token = '';
  end: keyof typeof WatchEnd_Reason | undefined;
  /** Resolves when the stream is over: with the error that it ended with, if any. */
  done: Promise<ServiceError | undefined>;
  readonly #request: Request;
  #abort = new AbortController();
  readonly #newest = new Map<string, Age>();

  constructor(replica: Watching, request: Request) {
    this.#request = request;
    this.done = this.#read(replica, request);
  }

  /** The messages that came after this many. */
  since(count: number): WatchControllersResponse[] {
    return this.messages.slice(count);
  }

  /** Every state that was told of a controller, in order. */
  told(backupId: string): Controller[] {
    return this.messages.flatMap(message => message.controllers.filter(c => c.backupId === backupId));
  }

  /** Waits until this holds, and says what is known if it never does. */
  async until(check: (picture: this) => boolean, ms?: number): Promise<void> {
    await eventually(() => {
      if (check(this)) return;
      const known = [...this.controllers.values()].slice(0, 20);
      const states = known.map(c => `${c.backupId.slice(0, 4)}:${c.status}:${c.progress}`);
      assert.fail(`only ${states} after ${this.messages.length} messages, end ${this.end}`);
    }, ms);
  }

  /** Waits until the first state is complete. */
  async complete(): Promise<void> {
    await this.until(() => this.token !== '');
  }

  /** Goes on with the last token, on this replica or another. */
  resume(replica: Watching): void {
    this.#abort = new AbortController();
    this.end = undefined;
    this.done = this.#read(replica, { ...this.#request, resumeToken: this.token });
  }

  /** Resolves when the stream is over, and fails with the error that it ended with, if any. */
  async over(): Promise<void> {
    const error = await this.done;
    if (error) throw error;
  }

  async cancel(): Promise<void> {
    this.#abort.abort();
    await this.done;
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.cancel();
  }

  async #read(replica: Watching, request: Request): Promise<ServiceError | undefined> {
    const { signal } = this.#abort;
    try {
      for await (const message of replica.controllers.watchControllers(request, { signal })) this.record(message);
      return undefined;
    } catch (error) {
      return error as ServiceError;
    }
  }

  /** Nothing older is ever told than what was told before, not by another replica either. */
  #goesOn({ backupId, id, etag }: Controller): void {
    const told = this.#newest.get(backupId);
    const age = { id, revision: Number(etag.split('.')[1]) };
    assert.ok(!told || age.id > told.id || (age.id === told.id && age.revision >= told.revision), 'an older state');
    this.#newest.set(backupId, age);
  }

  record(message: WatchControllersResponse): void {
    assert.equal(this.end, undefined, 'told after the end');
    assert.ok(message.controllers.length + message.removedBackupIds.length <= 200, 'the message is too long');
    const ids = [...message.controllers.map(c => c.backupId), ...message.removedBackupIds];
    assert.equal(new Set(ids).size, ids.length, 'one controller twice in a message');
    this.messages.push(message);
    if (message.reset) this.controllers.clear();
    for (const controller of message.controllers) {
      this.#goesOn(controller);
      this.controllers.set(controller.backupId, controller);
    }
    for (const backupId of message.removedBackupIds) this.controllers.delete(backupId);
    if (message.resumeToken) this.token = message.resumeToken;
    if (message.end) this.end = reasonName(message.end.reason);
  }
}

function reasonName(reason: WatchEnd_Reason): Picture['end'] {
  return (Object.keys(WatchEnd_Reason) as (keyof typeof WatchEnd_Reason)[]).find(
    name => WatchEnd_Reason[name] === reason,
  );
}

/** Asserts that a reader knows exactly what is there now, by ListControllers or BatchGetControllers. */
export function same(picture: Picture, truth: Controller[]): void {
  const bytes = (all: Iterable<Controller>) =>
    new Map(
      [...all].map(c => [
        c.backupId,
        Buffer.from(toBinary(ControllerSchema, { ...c, lease: undefined })).toString('hex'),
      ]),
    );
  assert.deepEqual(bytes(picture.controllers.values()), bytes(truth));
}
