import type { TailStart } from '../../client/tail.ts';
import type { TailEvent } from '../../client/tail-position.ts';
import { Status, StatusSchema } from '../../gen/backup/v1/controller_pb.ts';
import type { LogLevel } from '../../gen/backup/v1/entry_pb.ts';
import { openConnection } from '../connection.ts';
import { Failure } from '../failure.ts';
import { type Filter, tailFilterOf } from '../filter.ts';
import { nameOf } from '../names.ts';
import { Notes } from '../notes.ts';
import type { Session } from '../session.ts';
import { LineWriter } from './line.ts';
import { type Printer, printerOf } from './printer.ts';
import { ResumeFile } from './resume-file.ts';

type Options = Filter & {
  all?: true;
  level?: LogLevel;
  tail?: number;
  since?: Date;
  fromStart?: true;
  resumeToken?: string;
  resumeFile?: string;
  follow: boolean;
  untilFinished?: true;
  ids?: true;
  time: boolean;
  quiet?: true;
};

/** Follows logs until they end, or the user has enough. */
export async function tailLogs(session: Session, options: Options, backupIds: string[]): Promise<void> {
  const which = whichOf(options, backupIds);
  const file = options.resumeFile === undefined ? undefined : new ResumeFile(options.resumeFile);
  const notes = new Notes(session, options.quiet);
  const named = backupIds.length !== 1;
  const states = new States(notes, named);
  const print = await printerOf(session, { named, time: options.time, ...(options.ids && { ids: true }) });
  using connection = openConnection(session.settings);
  const tail = connection.tail({
    ...which,
    ...(options.level !== undefined && { maxLevel: options.level }),
    ...startOf(options, file, backupIds),
    follow: options.follow,
    untilFinished: options.untilFinished ?? false,
    signal: session.signal,
    onReconnect: notes.interrupted,
    get patienceMs() {
      return notes.patienceMs;
    },
  });
  const keep = file && (() => file.keep(tail.resumeToken));
  try {
    for await (const event of tail) {
      notes.heard();
      await tell(event, print, states);
      // The tail is behind an event when it is asked for the next one, which it is by then.
      if (keep) setImmediate(keep);
    }
  } catch (error) {
    if (!session.signal.aborted) throw error;
  } finally {
    keep?.();
    await file?.written();
  }
  if (options.untilFinished && !session.signal.aborted) states.judge();
}

function whichOf(options: Options, backupIds: string[]) {
  const filter = tailFilterOf(options);
  const given = [backupIds.length > 0, filter !== undefined, options.all === true].filter(Boolean).length;
  if (given === 0)
    throw new Failure('WRONG_USE', 'which logs?', 'name backups, or give a filter such as --course 42, or --all');
  // All logs that match a filter are those that match it.
  if (given > 1 && !(options.all && filter && backupIds.length === 0))
    throw new Failure('WRONG_USE', 'backups that are named exclude a filter and --all');
  if (backupIds.length > 100)
    throw new Failure('WRONG_USE', `${backupIds.length} backups are more than the 100 that are possible`);
  if (options.untilFinished && backupIds.length === 0)
    throw new Failure('WRONG_USE', '--until-finished needs backups that are named');
  if (backupIds.length > 0) return { backupIds };
  return filter ? { filter } : { everything: true };
}

function startOf(options: Options, file: ResumeFile | undefined, backupIds: string[]): { start?: TailStart } {
  const resumeToken = file?.token || options.resumeToken;
  if (resumeToken) return { start: { resumeToken } };
  if (options.tail !== undefined) return { start: { last: options.tail } };
  if (options.since) return { start: { since: options.since } };
  // Nobody wants all that was ever written because he has forgotten to say from when.
  const isWide = backupIds.length === 0 && options.follow;
  return isWide && !options.fromStart ? { start: { last: 0 } } : {};
}

async function tell(event: TailEvent, print: Printer, states: States): Promise<void> {
  switch (event.case) {
    case 'entries':
      return print(event.value.backupId, event.value.entries, event.value.resumeToken);
    case 'truncated':
      return states.say(
        event.value.backupId,
        `entries ${event.value.fromId} to ${event.value.toId} are no longer kept`,
      );
    case 'fellBehind':
      return states.fellBehind(event.value.lag);
    case 'caughtUp':
      return states.caughtUp();
    case 'state':
      return states.record(event.value.backupId, event.value.status);
    case 'end':
      if (event.value.backupId) states.say(event.value.backupId, 'was deleted with its log');
  }
}

/** What is said about backups besides their entries. */
class States {
  readonly #notes: Notes;
  readonly #lines: LineWriter;
  readonly #statuses = new Map<string, Status>();
  #isBehind = false;

  constructor(notes: Notes, named: boolean) {
    this.#notes = notes;
    this.#lines = new LineWriter({ paint: notes.paint, time: undefined, ids: false, named });
  }

  say(backupId: string, note: string): void {
    this.#notes.line(this.#lines.noteOf(backupId, note));
  }

  /** Every stream begins with the status, and every progress has one. */
  record(backupId: string, status: Status): void {
    if (this.#statuses.get(backupId) === status) return;
    this.#statuses.set(backupId, status);
    this.say(backupId, nameOf(StatusSchema, status));
  }

  fellBehind(lag: bigint): void {
    this.#isBehind = true;
    this.#notes.say(`fell behind: about ${lag} entries are there and not here yet`);
  }

  caughtUp(): void {
    if (this.#isBehind) this.#notes.say('caught up');
    this.#isBehind = false;
  }

  /** Fails when one of the runs has failed. */
  judge(): void {
    const failed = [...this.#statuses]
      .filter(([, status]) => status === Status.FINISHED_ERR)
      .map(([backupId]) => backupId);
    if (failed.length > 0) throw new Failure('RUN_FAILED', `${failed.join(', ')} did not succeed`);
  }
}
