import { ControllerService, PurgeControllersResponseSchema, Status } from '../../gen/backup/v1/controller_pb.ts';
import { LogService, PurgeLogsResponseSchema } from '../../gen/backup/v1/log_pb.ts';
import { Failure } from '../failure.ts';
import type { Session } from '../session.ts';
import { durationOf } from '../terminal/times.ts';
import { confirm } from './confirm.ts';

type Options = { olderThan?: number; status?: string[]; dryRun?: true; yes?: true };

export async function purgeControllers(session: Session, { olderThan, status = [], ...how }: Options): Promise<void> {
  const service = session.client(ControllerService);
  const statuses = status.map(name => Status[name.toUpperCase().replaceAll('-', '_') as keyof typeof Status]);
  const request = { olderThan: durationOf(olderThan!), statuses: [...new Set(statuses)], maxControllers: 10_000 };
  const told = ({ controllers, logEntries }: { controllers: bigint; logEntries: bigint }) =>
    `${counted(controllers, 'controller')} and ${counted(logEntries, 'log entry', 'log entries')}`;
  const would = await service.purgeControllers({ ...request, dryRun: true }, session.call());
  if (how.dryRun || would.controllers === 0n || !(await agreed(session, how, `${told(would)}${more(would)}`))) {
    return session.screen.show(PurgeControllersResponseSchema, would, () => wouldGo(told(would), would));
  }
  const total = { ...would, controllers: 0n, logEntries: 0n, more: true };
  while (total.more && !session.signal.aborted) {
    const gone = await service.purgeControllers(request, session.call());
    total.controllers += gone.controllers;
    total.logEntries += gone.logEntries;
    total.more = gone.more && gone.controllers > 0n;
  }
  await session.screen.show(PurgeControllersResponseSchema, total, () => `deleted ${told(total)}`);
}

export async function purgeLogs(session: Session, { olderThan, ...how }: Options, backupId?: string): Promise<void> {
  if (olderThan === undefined && !backupId)
    throw new Failure('WRONG_USE', 'give --older-than, or the backup id of one log');
  const service = session.client(LogService);
  const age = olderThan === undefined ? {} : { olderThan: durationOf(olderThan) };
  const request = { ...age, ...(backupId && { backupId }), maxEntries: 1_000_000 };
  const told = ({ entries, logs }: { entries: bigint; logs: bigint }) =>
    `${counted(entries, 'entry', 'entries')} of ${counted(logs, 'log')}`;
  const would = await service.purgeLogs({ ...request, dryRun: true }, session.call());
  if (how.dryRun || would.logs === 0n || !(await agreed(session, how, `${told(would)}${more(would)}`))) {
    return session.screen.show(PurgeLogsResponseSchema, would, () => wouldGo(told(would), would));
  }
  const total = { ...would, entries: 0n, logs: 0n, more: true };
  while (total.more && !session.signal.aborted) {
    const gone = await service.purgeLogs(request, session.call());
    total.entries += gone.entries;
    total.logs += gone.logs;
    total.more = gone.more && gone.logs > 0n;
  }
  await session.screen.show(PurgeLogsResponseSchema, total, () => `removed ${told(total)}`);
}

function agreed(session: Session, { yes }: Options, what: string): true | Promise<boolean> {
  return yes ?? confirm(`Delete ${what}?`, session.signal);
}

type Would = { more: boolean; sampleBackupIds: string[] };

function wouldGo(what: string, would: Would): string {
  const samples = would.sampleBackupIds.map(id => `  ${id}`);
  return [
    `nothing was deleted; ${what}${more(would)} would go${samples.length > 0 ? ', of these backups first:' : ''}`,
    ...samples,
  ].join('\n');
}

function more({ more }: Would): string {
  return more ? ', and more' : '';
}

function counted(count: bigint, one: string, several = `${one}s`): string {
  return `${count} ${count === 1n ? one : several}`;
}
