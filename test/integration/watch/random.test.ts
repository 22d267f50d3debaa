import { strict as assert } from 'node:assert';
import { randomInt } from 'node:crypto';
import type { ServiceError } from '@grpc/grpc-js';
import { type Controller, Operation, Purpose, Status } from '../../../src/gen/backup/v1/controller_pb.ts';
import { type Backend, type Replica, startBackend } from '../../support/backend.ts';
import { eventually } from '../../support/eventually.ts';
import { newBackupId } from '../../support/writing.ts';
import { Picture, same } from './picture.ts';

const WRITERS = 4;
const CHANGES = 50;

const filters = [
  {},
  { statuses: [Status.CREATED, Status.PLANNED] },
  { purposes: [Purpose.GENERAL], operation: Operation.BACKUP },
  { userId: 1n, statuses: [Status.PLANNED, Status.CONFIGURED, Status.EXECUTING] },
];

describe('WatchControllers while writers change, create and delete on two replicas', () => {
  it('leaves every reader with what is there, whenever it came, broke off and went on, and on whichever replica', async () => {
    await using backend = await startBackend({ replicas: 2, settings: { TAIL_POLL: '100ms', CALL_TIMEOUT: '10s' } });
    const ids = Array.from({ length: 30 }, newBackupId);
    const wishes = [
      ...filters.map(filter => ({ filter })),
      { backupIds: ids },
      { backupIds: ids.slice(0, 10) },
      { backupIds: ids.slice(5, 6) },
    ];
    const writing = Promise.all(Array.from({ length: WRITERS }, () => write(backend, ids)));
    let over = false;
    const reading = Promise.all(
      Array.from({ length: 10 }, async (_, i) => {
        const wish = wishes[i % wishes.length]!;
        const picture = new Picture(any(backend), wish);
        await picture.complete();
        // Half of them break off again and again.
        while (i % 2 === 0 && !over) {
          await picture.until(({ messages }) => over || messages.length % randomInt(3, 12) === 0, 50_000);
          await picture.cancel();
          picture.resume(any(backend));
        }
        return { picture, wish };
      }),
    );
    await writing;
    over = true;
    for (const { picture, wish } of await reading) {
      await eventually(async () => same(picture, await truth(backend, wish)));
      await picture.cancel();
    }
    await eventually(() => {
      for (const { app } of backend.replicas) assert.deepEqual(app.watches.size, { views: 0, watchers: 0 });
    });
  });
});

async function write(backend: Backend, ids: string[]): Promise<void> {
  for (let i = 0; i < CHANGES; i++) {
    const { controllers } = any(backend);
    const backupId = ids[randomInt(ids.length)]!;
    const change = [
      () => controllers.createController({ ...fields(), backupId }),
      () => controllers.createController({ ...fields(), backupId }),
      () => controllers.transitionController({ backupId, from: Status.CREATED, to: Status.PLANNED }),
      () => controllers.transitionController({ backupId, from: Status.PLANNED, to: Status.CONFIGURED }),
      () => controllers.transitionController({ backupId, from: Status.PLANNED, to: Status.FINISHED_ERR }),
      () => update(controllers, backupId, { progress: randomInt(100) / 100 }),
      () => update(controllers, backupId, { purpose: fields().purpose }),
      () => controllers.deleteController({ backupId, force: true }),
      // Other programs ring for nobody; a report of progress moves nothing else.
      () =>
        backend.database.query('update backup_controllers set status = 800, progress = random() where backupid = $1', [
          backupId,
        ]),
    ][randomInt(9)]!;
    // What cannot be done to it now is left.
    await change().catch((error: ServiceError) => assert.ok([3, 5, 6, 9, 10].includes(error.code), error));
  }
}

function fields() {
  return {
    operation: randomInt(2) ? Operation.BACKUP : Operation.RESTORE,
    type: 3,
    purpose: randomInt(2) ? Purpose.GENERAL : Purpose.IMPORT,
    userId: BigInt(randomInt(2)),
  } as const;
}

function update(
  controllers: Replica['controllers'],
  backupId: string,
  controller: { progress?: number; purpose?: Purpose },
) {
  return controllers.updateController({ backupId, controller, updateMask: { paths: Object.keys(controller) } });
}

async function truth(
  { controllers }: Backend,
  wish: { backupIds?: string[]; filter?: (typeof filters)[number] },
): Promise<Controller[]> {
  if (wish.backupIds) return (await controllers.batchGetControllers({ backupIds: wish.backupIds })).controllers;
  return (await controllers.listControllers({ filter: wish.filter!, pageSize: 1000 })).controllers;
}

function any({ replicas }: Backend): Replica {
  return replicas[randomInt(replicas.length)]!;
}
