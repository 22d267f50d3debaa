import { timestampFromDate } from '@bufbuild/protobuf/wkt';
import {
  type Controller,
  ControllerSchema,
  ControllerService,
  Execution,
  type Operation,
  type Purpose,
  Status,
  Type,
} from '../../gen/backup/v1/controller_pb.ts';
import type { Session } from '../session.ts';
import { standingOf } from './list.ts';
import { subjectOf } from './row.ts';

type Creation = {
  operation: Operation;
  course?: bigint;
  type?: Type;
  item?: bigint;
  purpose: Purpose;
  user?: bigint;
  status?: Status;
  execution?: Execution;
  exclusive?: true;
  maxAttempts?: number;
  backupId?: string;
};

export async function createController(session: Session, given: Creation): Promise<void> {
  const { operation, course, purpose, exclusive = false } = given;
  const request = {
    operation,
    type: course === undefined ? (given.type ?? Type.UNSPECIFIED) : Type.COURSE,
    itemId: course ?? given.item ?? 0n,
    purpose,
    userId: given.user ?? 0n,
    status: given.status ?? Status.UNSPECIFIED,
    execution: given.execution ?? Execution.UNSPECIFIED,
    exclusive,
    maxAttempts: given.maxAttempts ?? 0,
    backupId: given.backupId ?? '',
  };
  const { controller } = await session.client(ControllerService).createController(request, session.call());
  await session.screen.show(ControllerSchema, controller!, () => controller!.backupId);
}

export async function cancelControllers(
  session: Session,
  { reason = '' }: { reason?: string },
  backupIds: string[],
): Promise<void> {
  const controllers = session.client(ControllerService);
  await changeAll(session, backupIds, backupId => controllers.cancelController({ backupId, reason }, session.call()));
}

export async function retryControllers(session: Session, { at }: { at?: Date }, backupIds: string[]): Promise<void> {
  const controllers = session.client(ControllerService);
  const when = at && { executionTime: timestampFromDate(at) };
  await changeAll(session, backupIds, backupId => controllers.retryController({ backupId, ...when }, session.call()));
}

/** One after the other, and all of them; fails then as the first one did that failed. */
async function changeAll(
  session: Session,
  backupIds: string[],
  change: (backupId: string) => Promise<{ controller?: Controller | undefined }>,
): Promise<void> {
  const failures: unknown[] = [];
  for (const backupId of backupIds) {
    if (session.signal.aborted) break;
    try {
      const { controller } = await change(backupId);
      await session.screen.item(ControllerSchema, controller!, () => lineOf(controller!));
    } catch (error) {
      if (failures.length > 0) console.error(`error: ${backupId}: ${(error as Error).message}`);
      failures.push(error);
    }
  }
  if (failures.length > 0) throw failures[0];
}

function lineOf(controller: Controller): string {
  const asked =
    controller.lease && controller.cancelRequestTime ? `, ${controller.lease.worker} was asked to stop` : '';
  return `${controller.backupId}  ${subjectOf(controller)}  ${standingOf(controller)}${asked}`;
}
