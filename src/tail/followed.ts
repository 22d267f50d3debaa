import { ErrorReason, StatusError } from '../errors.ts';
import type { Head } from '../log/head.ts';
import type { Position } from '../log/page.ts';

/** One log of a tail: how far it was delivered and how far it goes. */
export class FollowedLog {
  readonly backupId: string;
  position: Position;
  #upTo = 0n;
  sealed = false;
  #existed: boolean;
  #run: Head['run'];
  #told: Head['run'];

  constructor(backupId: string, position: Position) {
    this.backupId = backupId;
    this.position = position;
    this.#existed = position.id > 0n;
  }

  /** Where to deliver to before looking again. A position may lie behind it: whoever has read on behind the seal. */
  get target(): bigint {
    return this.#upTo > this.position.id ? this.#upTo : this.position.id;
  }

  get lag(): bigint {
    return this.target - this.position.id;
  }

  /** Whether the log was there before and is no more. */
  isGone(head: Head): boolean {
    const gone = this.#existed && !head.exists;
    this.#existed ||= head.exists;
    return gone;
  }

  /** Takes note of a head; returns the ids that retention removed before they could be delivered. */
  look(
    head: Head,
    { follow, untilFinished }: { follow: boolean; untilFinished: boolean },
    again: boolean,
  ): { fromId: bigint; toId: bigint } | undefined {
    if (head.lastId < this.position.id) throw diverged(this.backupId);
    const end = untilFinished ? (head.sealedId ?? head.lastId) : head.lastId;
    // Without following, what is appended from now on does not count, or the tail of a busy log would never end.
    if (follow || !again) this.#upTo = end;
    this.sealed = head.sealedId !== undefined;
    this.#run = head.run;
    const fromId = this.position.id + 1n;
    if (fromId >= head.firstId) return undefined;
    this.position = { id: head.firstId - 1n, fingerprint: '' };
    return { fromId, toId: head.firstId - 1n };
  }

  /** What to tell of the run. Its end only when all is delivered: who stops at the last status would lose lines. */
  newState(): Head['run'] {
    const run = this.#run;
    if (!run || (this.sealed && this.lag > 0n)) return undefined;
    if (run.status === this.#told?.status && run.progress === this.#told.progress) return undefined;
    this.#told = run;
    return run;
  }
}

export function diverged(backupId: string): StatusError {
  return new StatusError(
    ErrorReason.HISTORY_DIVERGED,
    `the log of ${backupId} is not the one that was delivered; start again from its beginning`,
    { metadata: { backup_id: backupId } },
  );
}
