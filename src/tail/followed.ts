import { ErrorReason, StatusError } from '../errors.ts';
import type { Position } from '../log/entry.ts';
import type { Head, Run } from '../log/head.ts';
import type { WatchedLog } from './watched.ts';

/** One log of a tail: how far it was delivered and how far it goes. */
export class FollowedLog {
  readonly log: WatchedLog;
  position: Position;
  #upTo = 0n;
  sealed = false;
  #existed: boolean;
  #run: Run | undefined;
  #told: Run | undefined;
  #turns: number;

  constructor(log: WatchedLog, position: Position) {
    this.log = log;
    this.position = position;
    this.#turns = log.turns;
    this.#existed = position.id > 0n;
  }

  get backupId(): string {
    return this.log.backupId;
  }

  get head(): Head {
    return this.log.head!;
  }

  /** Where to deliver to before looking again. A position may lie behind it: whoever has read on behind the seal. */
  get target(): bigint {
    return this.#upTo > this.position.id ? this.#upTo : this.position.id;
  }

  get lag(): bigint {
    return this.target - this.position.id;
  }

  /** How many entries there are that were not delivered, looked at or not. */
  get behind(): bigint {
    const { exists, lastId } = this.head;
    return exists && lastId > this.position.id ? lastId - this.position.id : 0n;
  }

  /** Whether the last look has found the entry at the position to be what it was. */
  get proved(): boolean {
    const { id, fingerprint } = this.position;
    return fingerprint === '' || (this.log.known?.id === id && this.log.known.fingerprint === fingerprint);
  }

  /** Whether the log has turned out to be another one since this was asked last. */
  hasTurned(): boolean {
    const turned = this.#turns !== this.log.turns;
    this.#turns = this.log.turns;
    return turned;
  }

  /** Whether the log was there before and is no more. */
  isGone(): boolean {
    const gone = this.#existed && !this.head.exists;
    this.#existed ||= this.head.exists;
    return gone;
  }

  /** Takes note of the head; returns the ids that retention removed before they could be delivered. */
  look(
    { follow, untilFinished }: { follow: boolean; untilFinished: boolean },
    again: boolean,
  ): { fromId: bigint; toId: bigint } | undefined {
    const { firstId, lastId, sealedId, run } = this.head;
    if (lastId < this.position.id) throw diverged(this.backupId);
    const end = untilFinished ? (sealedId ?? lastId) : lastId;
    // Without following, what is appended from now on does not count, or the tail of a busy log would never end.
    if (follow || !again) this.#upTo = end;
    this.sealed = sealedId !== undefined;
    this.#run = run;
    const fromId = this.position.id + 1n;
    if (fromId >= firstId) return undefined;
    this.position = { id: firstId - 1n, fingerprint: '' };
    return { fromId, toId: firstId - 1n };
  }

  /** What to tell of the run. Its end only when all is delivered: who stops at the last status would lose lines. */
  newState(): Run | undefined {
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
