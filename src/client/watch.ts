import type { MessageInitShape } from '@bufbuild/protobuf';
import {
  type Controller,
  type ControllerFilterSchema,
  type ControllerService,
  WatchEnd_Reason,
  WatchEnd_ReasonSchema,
} from '../gen/backup/v1/controller_pb.ts';
import type { ServiceClient } from './calls.ts';
import { type ReconnectOptions, Reconnects } from './reconnect.ts';

/** Which controllers; neither ids nor a filter: all. */
export type WatchOptions = ReconnectOptions & {
  /** Up to 1000. */
  backupIds?: string[];
  filter?: MessageInitShape<typeof ControllerFilterSchema>;
  /** Ends when all `backupIds` have finished or were deleted. */
  untilFinished?: boolean;
  /** Where another watch of the same controllers was. */
  resumeToken?: string;
};

/** What has changed. */
export type Change = {
  /** Forget what was told before: this begins with all there is. */
  reset: boolean;
  /** What these are now. */
  controllers: Controller[];
  /** Deleted, or matching no longer. */
  removedBackupIds: string[];
};

/**
 * What controllers are and then every change of them, over as many streams as it takes; the latest state for who is slow. A change counts as dealt
 * with when the next one is asked for. After an interruption some may be told again, which is what they are then.
 */
export class Watch implements AsyncIterable<Change> {
  readonly #controllers: ServiceClient<typeof ControllerService>;
  readonly #options: WatchOptions;
  #resumeToken: string;

  constructor(controllers: ServiceClient<typeof ControllerService>, options: WatchOptions) {
    this.#controllers = controllers;
    this.#options = options;
    this.#resumeToken = options.resumeToken ?? '';
  }

  /** Where the watch is; empty until the first state is complete. */
  get resumeToken(): string {
    return this.#resumeToken;
  }

  async *[Symbol.asyncIterator](): AsyncGenerator<Change, void, undefined> {
    const { signal, backupIds = [], filter, untilFinished = false } = this.#options;
    const reconnects = new Reconnects(this.#options);
    for (;;) {
      const resumeToken = this.#resumeToken;
      const request = { backupIds, untilFinished, resumeToken, ...(filter && { filter }) };
      let reason: string | undefined;
      let broken: unknown;
      try {
        for await (const told of this.#controllers.watchControllers(request, signal ? { signal } : {})) {
          reconnects.heard();
          const { reset, controllers, removedBackupIds, end } = told;
          if (reset || controllers.length > 0 || removedBackupIds.length > 0) {
            yield { reset, controllers, removedBackupIds };
          }
          if (told.resumeToken) this.#resumeToken = told.resumeToken;
          if (end?.reason === WatchEnd_Reason.FINISHED) return;
          if (!end) continue;
          reason = WatchEnd_ReasonSchema.value[end.reason]?.localName;
          break;
        }
      } catch (error) {
        broken = error;
      }
      await reconnects.after(reason, broken);
    }
  }
}
