import { create } from '@bufbuild/protobuf';
import { timestampFromDate } from '@bufbuild/protobuf/wkt';
import {
  type Controller,
  ControllerOrder,
  ControllerSchema,
  ControllerService,
  ExecutionSchema,
  ListControllersResponseSchema,
  OutcomeSchema,
  PurposeSchema,
  Status,
  StatusSchema,
} from '../../gen/backup/v1/controller_pb.ts';
import { controllerFilterOf, type Filter } from '../filter.ts';
import { nameOf } from '../names.ts';
import { Notes } from '../notes.ts';
import { collect } from '../pages.ts';
import type { Session } from '../session.ts';
import type { Ink } from '../terminal/paint.ts';
import { table } from '../terminal/table.ts';
import { printable } from '../terminal/text.ts';
import { percent, subjectOf } from './row.ts';

type Options = Filter & { since?: Date; oldestFirst?: true; limit: number };

export async function listControllers(session: Session, options: Options): Promise<void> {
  const { screen, signal } = session;
  const { since, limit } = options;
  const request = {
    filter: { ...controllerFilterOf(options), ...(since && { created: { start: timestampFromDate(since) } }) },
    order: options.oldestFirst ? ControllerOrder.OLDEST_FIRST : ControllerOrder.NEWEST_FIRST,
  };
  const found = await collect(
    page => session.client(ControllerService).listControllers({ ...request, ...page }, { signal }),
    ({ controllers }) => controllers,
    // One more says that there are more.
    limit + 1,
  );
  const controllers = found.slice(0, limit);
  await screen.show(ListControllersResponseSchema, create(ListControllersResponseSchema, { controllers }), () => {
    const rows = controllers.map(controller => rowOf(controller, session));
    return table(COLUMNS, rows, screen.width);
  });
  if (found.length > limit)
    new Notes(session).say(`there are more than ${limit}: --limit says how many to list, or all`);
}

export async function getController(session: Session, _options: object, backupId: string): Promise<void> {
  const { screen } = session;
  const { controller } = await session.client(ControllerService).getController({ backupId }, session.call());
  await screen.show(ControllerSchema, controller!, () => detailsOf(controller!, session));
}

const COLUMNS = [
  { title: 'BACKUP' },
  { title: 'RUN' },
  { title: 'PURPOSE' },
  { title: 'STATUS' },
  { title: 'DONE', right: true },
  { title: 'CREATED' },
  { title: 'CHANGED' },
  { title: 'WORKER' },
];

function rowOf(controller: Controller, { screen }: Session): string[] {
  return [
    controller.backupId,
    subjectOf(controller),
    nameOf(PurposeSchema, controller.purpose).toLowerCase(),
    screen.paint(inksOf(controller), standingOf(controller)),
    `${percent(controller.progress)} %`,
    screen.time(controller.createTime),
    screen.time(controller.updateTime),
    printable(controller.lease?.worker ?? ''),
  ];
}

function detailsOf(controller: Controller, { screen }: Session): string {
  const { lease } = controller;
  const cancelled = controller.cancelRequestTime && screen.time(controller.cancelRequestTime);
  const facts: [string, string][] = [
    ['backup', controller.backupId],
    ['run', subjectOf(controller)],
    ['purpose', nameOf(PurposeSchema, controller.purpose).toLowerCase()],
    ['user', String(controller.userId)],
    ['status', screen.paint(inksOf(controller), standingOf(controller))],
    ['progress', `${percent(controller.progress)} %`],
    ['execution', nameOf(ExecutionSchema, controller.execution).toLowerCase()],
    ['not before', screen.time(controller.executionTime)],
    ['created', screen.time(controller.createTime)],
    ['changed', screen.time(controller.updateTime)],
    ['started', screen.time(controller.startTime)],
    ['ended', screen.time(controller.endTime)],
    ['attempt', `${controller.attempt} of ${controller.maxAttempts}, ${controller.lostAttempts} lost`],
    ['worker', lease ? `${printable(lease.worker)}, until ${screen.time(lease.expireTime)}` : '-'],
    ['to be cancelled', cancelled ? `since ${cancelled}` : 'no'],
    ['exclusive', controller.exclusive ? 'yes' : 'no'],
    ['format', printable(controller.format)],
    ['checksum', controller.checksum || '-'],
    ['etag', printable(controller.etag)],
  ];
  const width = Math.max(...facts.map(([name]) => name.length));
  return facts.map(([name, fact]) => `${screen.paint('dim', name.padEnd(width))}  ${fact}`).join('\n');
}

/** Its status, or how it ended where that says more. */
export function standingOf({ status, outcome }: Controller): string {
  if (status === Status.FINISHED_ERR && outcome > 0) return nameOf(OutcomeSchema, outcome);
  return nameOf(StatusSchema, status);
}

function inksOf({ status }: Controller): Ink[] {
  if (status === Status.FINISHED_OK) return ['green'];
  if (status === Status.FINISHED_ERR) return ['red'];
  return status === Status.EXECUTING ? ['cyan'] : [];
}
