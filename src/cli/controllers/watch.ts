import type { Connection } from '../../client/connect.ts';
import { type Controller, Status } from '../../gen/backup/v1/controller_pb.ts';
import { openConnection } from '../connection.ts';
import { Failure } from '../failure.ts';
import { controllerFilterOf, type Filter } from '../filter.ts';
import { Notes } from '../notes.ts';
import type { Session } from '../session.ts';
import { barView } from './bar-view.ts';
import { lineView } from './line-view.ts';
import { Pace } from './pace.ts';
import type { Watched } from './row.ts';

type Options = Filter & { untilFinished?: true; quiet?: true };

/** Shows what becomes of runs until all have finished that are named, or the user has enough. */
export async function watchControllers(session: Session, options: Options, backupIds: string[]): Promise<void> {
  const filter = filterOf(options, backupIds);
  const isDrawn =
    session.screen.format === 'table' && session.screen.isTerminal && session.environment['TERM'] !== 'dumb';
  using view = isDrawn ? barView(session) : lineView(session);
  const notes = new Notes(session, options.quiet, view.say);
  using connection = openConnection(session.settings);
  const watch = connection.watch({
    ...(filter ? { filter } : { backupIds }),
    untilFinished: options.untilFinished ?? false,
    signal: session.signal,
    onReconnect: notes.interrupted,
    get patienceMs() {
      return notes.patienceMs;
    },
  });
  const runs = new Map<string, Watched>();
  const stale = new Stale(runs);
  try {
    for await (const { reset, controllers, removedBackupIds } of watch) {
      notes.heard();
      const gone = [...removedBackupIds, ...stale.gone(watch.resumeToken)].filter(id => runs.delete(id) || !filter);
      if (reset) stale.begin(watch.resumeToken);
      for (const controller of controllers) {
        stale.told(controller.backupId);
        await view.show(change(runs, controller));
      }
      // What no longer matches has finished, more often than not, and how is what one wants to know.
      const now = await lookUp(connection, gone, session.signal);
      for (const backupId of gone) await view.remove(backupId, now.get(backupId));
    }
  } catch (error) {
    if (!session.signal.aborted) throw error;
  }
  if (options.untilFinished && !session.signal.aborted) judge(runs);
}

/** Undefined: those that are named. */
function filterOf(options: Options, backupIds: string[]) {
  const filter = controllerFilterOf(options);
  if (backupIds.length > 1000)
    throw new Failure('WRONG_USE', `${backupIds.length} backups are more than the 1000 that are possible`);
  if (backupIds.length > 0 && filter) throw new Failure('WRONG_USE', 'backups that are named exclude a filter');
  if (backupIds.length > 0) return undefined;
  if (options.untilFinished) throw new Failure('WRONG_USE', '--until-finished needs backups that are named');
  return { ...filter, statuses: filter?.statuses ?? UNFINISHED };
}

function change(runs: Map<string, Watched>, controller: Controller): Watched {
  const run = runs.get(controller.backupId) ?? { controller, pace: new Pace() };
  // What an attempt before has done says nothing about how fast this one is.
  if (run.controller.attempt !== controller.attempt) run.pace = new Pace();
  run.controller = controller;
  if (controller.status === Status.EXECUTING) run.pace.record(controller.progress, Date.now());
  runs.set(controller.backupId, run);
  return run;
}

async function lookUp(
  { controllers }: Connection,
  backupIds: string[],
  signal: AbortSignal,
): Promise<Map<string, Controller>> {
  const found = new Map<string, Controller>();
  for (let at = 0; at < backupIds.length; at += 1000) {
    const page = await controllers.batchGetControllers({ backupIds: backupIds.slice(at, at + 1000) }, { signal });
    for (const controller of page.controllers) found.set(controller.backupId, controller);
  }
  return found;
}

/** Runs that were told before the service began anew. What is not told again until it has told all is gone. */
class Stale {
  readonly #runs: Map<string, Watched>;
  readonly #ids = new Set<string>();
  #token = '';

  constructor(runs: Map<string, Watched>) {
    this.#runs = runs;
  }

  begin(token: string): void {
    this.#token = token;
    for (const backupId of this.#runs.keys()) this.#ids.add(backupId);
  }

  told(backupId: string): void {
    this.#ids.delete(backupId);
  }

  /** The next token comes when all is told. */
  gone(token: string): string[] {
    if (token === this.#token) return [];
    const gone = [...this.#ids];
    this.#ids.clear();
    return gone;
  }
}

function judge(runs: Map<string, Watched>): void {
  const failed = [...runs.values()].filter(({ controller }) => controller.status === Status.FINISHED_ERR);
  if (failed.length === 0) return;
  throw new Failure('RUN_FAILED', `${failed.map(({ controller }) => controller.backupId).join(', ')} did not succeed`);
}

const UNFINISHED = Object.values(Status).filter(status => status > 0 && status < Status.FINISHED_ERR);
