import { Execution, Operation, Outcome, Status } from '../../../src/gen/backup/v1/controller_pb.ts';

/** What a run of this kind is created as. */
export type Kind = { operation: Operation; interactive: boolean; execution: Execution; maxAttempts: number };

/** What a controller must look like, in the words of the protocol. */
export type Look = {
  status: Status;
  outcome: Outcome;
  execution: Execution;
  attempt: number;
  lostAttempts: number;
  progress: number;
  leased: boolean;
  cancelRequested: boolean;
  started: boolean;
  ended: boolean;
  payload: boolean;
  sealed: boolean;
  /** Entries of the levels ERROR and WARNING, as level and attempt. */
  warnings: string[];
};

/** A call is refused with one of these reasons, or it is not. */
export type Verdict = 'OK' | readonly string[];

const { CREATED, REQUIRE_CONV, PLANNED, CONFIGURED, SETTING_UI, NEED_PRECHECK } = Status;
const { AWAITING, EXECUTING, FINISHED_ERR, FINISHED_OK } = Status;

/**
 * A run as the comments of the protocol say that it behaves, and as Moodle moves it; written from those, and not from the service. Each method
 * is a call: it says how the call must be answered and, when that is OK, does what it does.
 */
export class Model {
  look: Look | undefined;
  #kind: Kind = { operation: Operation.BACKUP, interactive: false, execution: Execution.DELAYED, maxAttempts: 1 };
  #due = true;
  /** What was logged before there was a controller, or after it was deleted. */
  #early: string[] = [];
  /** The token that is the right one, as its number among all that were given. */
  holder: number | undefined;
  tokens = 0;

  create(kind: Kind, status: Status, later: boolean): Verdict {
    if (!statusesOf(kind).includes(status)) return ['INVALID_FIELD'];
    if (this.look) return ['CONTROLLER_EXISTS'];
    this.#kind = kind;
    this.#due = !later;
    this.look = {
      status,
      outcome: Outcome.UNSPECIFIED,
      execution: kind.execution,
      attempt: 0,
      lostAttempts: 0,
      progress: 0,
      leased: false,
      cancelRequested: false,
      started: false,
      ended: false,
      payload: true,
      sealed: false,
      warnings: this.#early,
    };
    this.#early = [];
    return 'OK';
  }

  transition(from: Status, to: Status): Verdict {
    if (!this.look) return ['CONTROLLER_NOT_FOUND'];
    const reasons = [
      ...(this.look.leased ? ['CONTROLLER_LEASED'] : []),
      ...(this.look.status === from ? [] : ['STATUS_CHANGED']),
      ...(nextOf(this.#kind, from).includes(to) ? [] : ['ILLEGAL_TRANSITION']),
    ];
    if (reasons.length > 0) return reasons;
    this.look.status = to;
    if (to === EXECUTING) this.look.started = true;
    if (to === FINISHED_OK) this.#succeed(Outcome.SUCCEEDED);
    if (to === FINISHED_ERR) this.#end(Outcome.FAILED);
    return 'OK';
  }

  /** Whether a claim gets it now. */
  claim(): boolean {
    const { look } = this;
    if (!look || look.status !== AWAITING || look.execution !== Execution.DELAYED || !this.#due) return false;
    Object.assign(look, { status: EXECUTING, leased: true, started: true, progress: 0, attempt: look.attempt + 1 });
    this.holder = this.tokens++;
    return true;
  }

  report(token: number, progress: number | undefined, reset: boolean): Verdict {
    const look = this.#heldBy(token);
    if (!look) return ['LEASE_LOST'];
    if (progress !== undefined) look.progress = reset ? progress : Math.max(look.progress, progress);
    return 'OK';
  }

  append(token: number | undefined): Verdict {
    if (token === undefined) {
      (this.look?.warnings ?? this.#early).push('30@0');
      return 'OK';
    }
    const look = this.#heldBy(token);
    if (!look) return ['LEASE_LOST'];
    look.warnings.push(`30@${look.attempt}`);
    return 'OK';
  }

  finish(token: number, outcome: Outcome): Verdict {
    const look = this.#heldBy(token);
    if (!look) return ['LEASE_LOST'];
    look.warnings.push(`30@${look.attempt}`);
    if (outcome === Outcome.FAILED) {
      look.warnings.push(`20@${look.attempt}`);
      this.#end(look.cancelRequested ? Outcome.CANCELLED : Outcome.FAILED);
    } else this.#succeed(outcome);
    return 'OK';
  }

  release(token: number, later: boolean): Verdict {
    const look = this.#heldBy(token);
    if (!look) return ['LEASE_LOST'];
    if (look.cancelRequested) {
      look.warnings.push(`30@${look.attempt}`);
      this.#end(Outcome.CANCELLED);
    } else this.#queue(later);
    return 'OK';
  }

  /** The lease ends before its worker was heard of. */
  lose(): void {
    const look = this.look!;
    look.lostAttempts++;
    look.warnings.push(`20@${look.attempt}`);
    if (look.cancelRequested) this.#end(Outcome.CANCELLED);
    else if (look.lostAttempts < this.#kind.maxAttempts) this.#queue(false);
    else this.#end(Outcome.LOST);
  }

  cancel(): Verdict {
    const { look } = this;
    if (!look) return ['CONTROLLER_NOT_FOUND'];
    if (look.ended) return ['CONTROLLER_FINISHED'];
    if (look.leased) look.cancelRequested = true;
    else {
      look.warnings.push('30@0');
      this.#end(Outcome.CANCELLED);
    }
    return 'OK';
  }

  retry(later: boolean): Verdict {
    const { look } = this;
    if (!look) return ['CONTROLLER_NOT_FOUND'];
    if (look.status !== FINISHED_ERR) return ['ILLEGAL_TRANSITION'];
    Object.assign(look, { outcome: Outcome.UNSPECIFIED, execution: Execution.DELAYED, progress: 0, lostAttempts: 0 });
    Object.assign(look, { ended: false, sealed: false, cancelRequested: false });
    this.#queue(later);
    return 'OK';
  }

  update(progress: number): Verdict {
    const { look } = this;
    if (!look) return ['CONTROLLER_NOT_FOUND'];
    if (look.leased) return ['CONTROLLER_LEASED'];
    if (look.ended) return ['CONTROLLER_FINISHED'];
    look.progress = progress;
    return 'OK';
  }

  delete(force: boolean): Verdict {
    if (!this.look) return ['CONTROLLER_NOT_FOUND'];
    if (this.look.leased && !force) return ['CONTROLLER_LEASED'];
    this.look = undefined;
    this.holder = undefined;
    return 'OK';
  }

  /** Where it may go from where it is. */
  next(): Status[] {
    return this.look ? nextOf(this.#kind, this.look.status) : [];
  }

  #heldBy(token: number): Look | undefined {
    return this.holder === token ? this.look : undefined;
  }

  #succeed(outcome: Outcome): void {
    this.look!.status = FINISHED_OK;
    Object.assign(this.look!, { progress: 1, payload: false });
    this.#end(outcome, FINISHED_OK);
  }

  #end(outcome: Outcome, status: Status = FINISHED_ERR): void {
    Object.assign(this.look!, { status, outcome, leased: false, ended: true, sealed: true });
    this.holder = undefined;
  }

  #queue(later: boolean): void {
    Object.assign(this.look!, { status: AWAITING, leased: false });
    this.holder = undefined;
    this.#due = !later;
  }
}

/** Every status in which a run of this kind may be created. */
export function statusesOf(kind: Kind): Status[] {
  const found: Status[] = [CREATED];
  for (const status of found) found.push(...nextOf(kind, status).filter(next => !found.includes(next)));
  return found.filter(status => status < FINISHED_ERR);
}

function nextOf({ operation, interactive }: Kind, from: Status): Status[] {
  const graph = operation === Operation.BACKUP ? backup(interactive) : restore(interactive);
  const next = graph[from];
  return next ? [...next, FINISHED_ERR].sort((a, b) => a - b) : [];
}

type Graph = { [from in Status]?: Status[] };

function backup(interactive: boolean): Graph {
  return {
    [CREATED]: [PLANNED],
    [PLANNED]: [CONFIGURED],
    [CONFIGURED]: [interactive ? SETTING_UI : AWAITING],
    ...(interactive && { [SETTING_UI]: [AWAITING] }),
    [AWAITING]: [EXECUTING],
    [EXECUTING]: [FINISHED_OK],
  };
}

function restore(interactive: boolean): Graph {
  const settings = interactive ? SETTING_UI : NEED_PRECHECK;
  return {
    [CREATED]: [REQUIRE_CONV, PLANNED],
    [REQUIRE_CONV]: [PLANNED],
    [PLANNED]: [CONFIGURED, settings],
    [CONFIGURED]: [settings],
    ...(interactive && { [SETTING_UI]: [NEED_PRECHECK] }),
    [NEED_PRECHECK]: [AWAITING],
    [AWAITING]: [EXECUTING],
    [EXECUTING]: [FINISHED_OK],
  };
}
