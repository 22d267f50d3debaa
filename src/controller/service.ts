import { createHash, randomBytes } from 'node:crypto';
import { type FilterQuery, UniqueConstraintViolationException } from '@mikro-orm/core';
import type { MikroORM } from '@mikro-orm/postgresql';
import type { Doorbell } from '../db/doorbell.ts';
import { sqlIn } from '../db/sql.ts';
import { ErrorReason, invalidFields, StatusError } from '../errors.ts';
import {
  type ControllerFilter,
  ControllerOrder,
  type ControllerPatch,
  ControllerService,
  ControllerView,
  Execution,
  ListControllersRequestSchema,
  Purpose,
} from '../gen/backup/v1/controller_pb.ts';
import type { Handlers } from '../grpc/bind.ts';
import { sealLog } from '../log/head.ts';
import { paging } from '../paging.ts';
import { checkedSum, fromColumn, refuseLarge, toColumn } from '../payload/column.ts';
import { forgetUpload } from '../payload/upload.ts';
import { once } from '../request/once.ts';
import { toSeconds } from '../timestamps.ts';
import type { Tokens } from '../tokens.ts';
import { ringChanges, rung } from './bell.ts';
import { change, locked, notFound } from './change.ts';
import { Controller, types } from './entity.ts';
import { claimExclusively } from './exclusive.ts';
import { refuseUnlessHolder } from './fence.ts';
import { canBeIn, describe, isFinished, operations, Status } from './lifecycle.ts';
import { conditions, toMessage } from './message.ts';
import type { Reader } from './read.ts';
import { removeControllers } from './removal.ts';
import { refuseWhenFinished, takeStep } from './transition.ts';

type Needs = { orm: MikroORM; reader: Reader; doorbell: Doorbell; tokens: Tokens; defaultPageSize: number };

const { method } = ControllerService;

export function controllerService({
  orm,
  reader,
  doorbell,
  tokens,
  defaultPageSize,
}: Needs): Pick<
  Handlers<typeof ControllerService>,
  | 'createController'
  | 'getController'
  | 'batchGetControllers'
  | 'listControllers'
  | 'updateController'
  | 'deleteController'
  | 'transitionController'
> {
  return {
    async createController(request) {
      const run = { operation: operations[request.operation - 1]!, interactive: request.interactive };
      const status = (request.status || Status.CREATED) as Status;
      if (!canBeIn(run, status))
        throw invalidFields({ field: 'status', description: `no ${describe(run)} is ever in it` });
      if (run.operation === 'backup' && !request.type) {
        throw invalidFields({ field: 'type', description: 'is required for a backup' });
      }
      const backupId = request.backupId || newBackupId(request.requestId);
      const fields = {
        ...run,
        backupId,
        type: types[request.type]!,
        itemId: request.itemId,
        format: request.format || 'moodle2',
        interactive: request.interactive ? (1 as const) : (0 as const),
        purpose: request.purpose,
        userId: request.userId,
        status,
        execution: (request.execution || usualExecution(request.purpose)) as Controller['execution'],
        executionTime: toSeconds(request.executionTime),
        checksum: checkedSum(request.payload, request.checksum, 'checksum'),
        payload: toColumn(request.payload),
        exclusive: request.exclusive,
        maxAttempts: request.maxAttempts || 1,
      };
      const creating = once(orm, method.createController, backupId, request, async em => {
        if (fields.exclusive) await claimExclusively(em, fields);
        const controller = em.create(Controller, fields);
        await em.flush();
        return { controller: toMessage(controller) };
      });
      return rung(doorbell, creating).catch((error: unknown) => {
        if (!(error instanceof UniqueConstraintViolationException)) throw error;
        throw new StatusError(ErrorReason.CONTROLLER_EXISTS, `a controller ${backupId} exists already`);
      });
    },

    async getController({ backupId, view }, { signal }) {
      if (view !== ControllerView.FULL) {
        const controller = await reader.read(backupId, signal);
        if (!controller) throw notFound(backupId);
        return { controller: toMessage(controller) };
      }
      const em = orm.em.fork();
      const controller = await em.findOne(Controller, backupId, { populate: ['payloadLength'] });
      if (!controller) throw notFound(backupId);
      refuseLarge(controller.payloadLength);
      await em.populate(controller, ['payload']);
      return { controller: { ...toMessage(controller), payload: fromColumn(controller.payload) } };
    },

    async batchGetControllers({ backupIds }) {
      const found = await reader.readAll(backupIds);
      return {
        controllers: backupIds.flatMap(id => found.get(id) ?? []).map(toMessage),
        missingBackupIds: backupIds.filter(id => !found.has(id)),
      };
    },

    async listControllers(request) {
      const page = paging(tokens, ListControllersRequestSchema, request, defaultPageSize);
      const oldestFirst = request.order === ControllerOrder.OLDEST_FIRST;
      const direction = oldestFirst ? 'asc' : 'desc';
      const controllers = await orm.em
        .fork()
        .find(
          Controller,
          { $and: [conditions(request.filter), page.after ? beyond(page.after, oldestFirst ? '$gt' : '$lt') : {}] },
          { orderBy: [{ createdAt: direction }, { id: direction }], limit: page.size + 1 },
        );
      const last = controllers.length > page.size ? controllers[page.size - 1] : undefined;
      return {
        controllers: controllers.slice(0, page.size).map(toMessage),
        nextPageToken: last ? page.next([last.createdAt, last.id]) : '',
      };
    },

    async updateController(request) {
      const { backupId, updateMask } = request;
      const patch = request.controller!;
      const updating = once(orm, method.updateController, backupId, request, async em => {
        const controller = await change(em, request, async controller => {
          const paths = new Set(updateMask!.paths);
          if (HOLDERS.some(path => paths.has(path))) refuseUnlessHolder(controller, '');
          for (const path of paths) changeOf(path)(controller, patch);
          if (paths.has('payload')) {
            await forgetUpload(sqlIn(em), [backupId]);
            const checksum = paths.has('checksum') ? patch.checksum : '';
            controller.checksum = checkedSum(patch.payload, checksum, 'controller.checksum');
          }
          if (controller.execution === Execution.IMMEDIATE && controller.executionTime > 0n) {
            throw invalidFields({ field: 'controller.execution_time', description: 'is for delayed execution only' });
          }
          const moved = paths.has('type') || paths.has('item_id');
          if (moved && controller.exclusive && !isFinished(controller.status)) await claimExclusively(em, controller);
        });
        return { controller: toMessage(controller) };
      });
      return rung(doorbell, updating);
    },

    async deleteController(request) {
      const { backupId, force } = request;
      const answer = await once(orm, method.deleteController, backupId, request, async em => {
        const controller = await locked(em, request);
        if (!force) refuseUnlessHolder(controller, '');
        const { logEntries } = await removeControllers(sqlIn(em), [backupId]);
        return { deletedLogEntries: logEntries };
      });
      ringChanges(doorbell, [backupId]);
      return answer;
    },

    async transitionController(request) {
      const { backupId, from, to } = request;
      const stepping = once(orm, method.transitionController, backupId, request, async em => {
        const controller = await change(em, request, async controller => {
          refuseUnlessHolder(controller, '');
          takeStep(controller, from as Status, to as Status);
          if (!isFinished(controller.status)) return;
          if (controller.status === Status.FINISHED_OK) {
            Object.assign(controller, { progress: '1', payload: '' });
            await forgetUpload(sqlIn(em), [backupId]);
          }
          await sealLog(em, backupId);
        });
        return { controller: toMessage(controller) };
      });
      return rung(doorbell, stepping);
    },
  };
}

/** Made of the request id, if there is one: a creation that is sent again is about the same controller. */
function newBackupId(requestId: string): string {
  return requestId ? createHash('md5').update(requestId).digest('hex') : randomBytes(16).toString('hex');
}

/** The runs that match a filter, in the order of their ids, from this one on. */
export function runsOf(orm: MikroORM) {
  return async (filter: ControllerFilter, page: { start: bigint | undefined; newestFirst: boolean; limit: number }) => {
    const from = page.start === undefined ? {} : { id: { [page.newestFirst ? '$lte' : '$gte']: page.start } };
    return orm.em
      .fork()
      .find(
        Controller,
        { $and: [conditions(filter), from] },
        { fields: ['id'], orderBy: { id: page.newestFirst ? 'desc' : 'asc' }, limit: page.limit },
      );
  };
}

/** What is its worker's to say while a run is held; and nobody else would claim again one that is not delayed. */
const HOLDERS = ['progress', 'payload', 'checksum', 'execution'];

// The only names under which a client reaches a column by UpdateController.
const changes = {
  type: (controller: Controller, patch: ControllerPatch) => {
    if (controller.operation === 'backup') given(patch.type, 'type');
    controller.type = types[patch.type]!;
  },
  item_id: (controller: Controller, patch: ControllerPatch) => {
    controller.itemId = patch.itemId;
  },
  format: (controller: Controller, patch: ControllerPatch) => {
    controller.format = given(patch.format, 'format');
  },
  purpose: (controller: Controller, patch: ControllerPatch) => {
    controller.purpose = given(patch.purpose, 'purpose');
  },
  user_id: (controller: Controller, patch: ControllerPatch) => {
    controller.userId = patch.userId;
  },
  execution: (controller: Controller, patch: ControllerPatch) => {
    controller.execution = given(patch.execution, 'execution') as Controller['execution'];
  },
  execution_time: (controller: Controller, patch: ControllerPatch) => {
    controller.executionTime = toSeconds(patch.executionTime);
  },
  checksum: (controller: Controller, patch: ControllerPatch) => {
    controller.checksum = patch.checksum;
  },
  payload: (controller: Controller, patch: ControllerPatch) => {
    refuseWhenFinished(controller);
    controller.payload = toColumn(patch.payload);
  },
  progress: (controller: Controller, patch: ControllerPatch) => {
    refuseWhenFinished(controller);
    controller.progress = patch.progress.toFixed(14);
  },
};

// The rule of the mask lets paths below a field through, too.
function changeOf(path: string): (controller: Controller, patch: ControllerPatch) => void {
  if (Object.hasOwn(changes, path)) return changes[path as keyof typeof changes];
  throw invalidFields({ field: 'update_mask', description: `there is no field ${path} to change` });
}

function given<T extends string | number>(value: T, field: string): T {
  if (!value) throw invalidFields({ field: `controller.${field}`, description: 'is required when the mask names it' });
  return value;
}

function beyond([createdAt, id]: string[], side: '$gt' | '$lt'): FilterQuery<Controller> {
  return {
    $or: [
      { createdAt: { [side]: BigInt(createdAt!) } },
      { createdAt: BigInt(createdAt!), id: { [side]: BigInt(id!) } },
    ],
  };
}

function usualExecution(purpose: number): Execution {
  return purpose === Purpose.ASYNC || purpose === Purpose.COPY ? Execution.DELAYED : Execution.IMMEDIATE;
}
