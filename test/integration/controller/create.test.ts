import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { canBeIn, isFinished, operations, Status as Statuses } from '../../../src/controller/lifecycle.ts';
import {
  ControllerView,
  Execution,
  Operation,
  Purpose,
  Status,
  Type,
} from '../../../src/gen/backup/v1/controller_pb.ts';
import { type Backend, startBackend } from '../../support/backend.ts';
import { refused, winners } from '../../support/status.ts';
import { backup, newId, newNumber, restore, rowOf } from './requests.ts';

const EXISTS = { code: 'ALREADY_EXISTS', reason: 'CONTROLLER_EXISTS' } as const;
const EVERY_BYTE = Uint8Array.from({ length: 256 }, (_, i) => i);

describe('ControllerService.CreateController', () => {
  let backend: Backend;
  before(async () => {
    backend = await startBackend();
  });
  after(() => backend[Symbol.asyncDispose]());

  const created = async (request: ReturnType<typeof backup>) =>
    (await backend.controllers.createController(request)).controller!;

  it('keeps every value in the column that the specification names', async () => {
    const backupId = newId();
    const [itemId, userId] = [newNumber(), newNumber()];
    const { id, createTime, updateTime, etag, ...rest } = await created({
      backupId,
      operation: Operation.RESTORE,
      type: Type.SECTION,
      itemId,
      format: 'imscc11',
      interactive: true,
      purpose: Purpose.COPY,
      userId,
      status: Status.REQUIRE_CONV,
      execution: Execution.DELAYED,
      executionTime: { seconds: 1_900_000_000n, nanos: 999_999_999 },
      payload: EVERY_BYTE,
      exclusive: true,
      maxAttempts: 100,
    });
    const row = await rowOf(backend.database, backupId);
    assert.deepEqual(row, {
      id: `${id}`,
      backupid: backupId,
      operation: 'restore',
      type: 'section',
      itemid: `${itemId}`,
      format: 'imscc11',
      interactive: 1,
      purpose: 80,
      userid: `${userId}`,
      status: 200,
      execution: 2,
      executiontime: '1900000000',
      checksum: md5(EVERY_BYTE),
      progress: '0.00000000000000',
      created_at: `${createTime!.seconds}`,
      updated_at: `${createTime!.seconds}`,
      controller: Buffer.from(EVERY_BYTE).toString('base64'),
      revision: 1,
      exclusive: true,
      maxattempts: 100,
      attempt: 0,
      lostattempts: 0,
      leasetoken: null,
      leaseworker: '',
      leasedat: '0',
      leaseexpires: '0',
      leasems: 0,
      cancelrequestedat: '0',
      outcome: 0,
      startedat: '0',
      endedat: '0',
    });
    assert.deepEqual(updateTime, createTime);
    assert.notEqual(etag, '');
    assert.deepEqual(rest.executionTime, { ...rest.executionTime, seconds: 1_900_000_000n, nanos: 0 });
    assert.equal(rest.payload.length, 0, 'the answer carries the payload');
    assert.deepEqual([rest.exclusive, rest.maxAttempts, rest.attempt, rest.lostAttempts], [true, 100, 0, 0]);
    const { lease, cancelRequestTime, startTime, endTime, outcome } = rest;
    assert.deepEqual(
      [lease, cancelRequestTime, startTime, endTime, outcome],
      [undefined, undefined, undefined, undefined, 0],
    );
  });

  it('fills in what is not said', async () => {
    const controller = await created(backup());
    const { backupId, format, status, execution, executionTime, checksum, progress, itemId, userId, interactive } =
      controller;
    assert.match(backupId, /^[0-9a-f]{32}$/);
    assert.deepEqual(
      [format, status, execution, executionTime],
      ['moodle2', Status.CREATED, Execution.IMMEDIATE, undefined],
    );
    assert.deepEqual([checksum, progress, itemId, userId, interactive], ['', 0, 0n, 0n, false]);
    assert.deepEqual([controller.exclusive, controller.maxAttempts], [false, 1]);
    const row = await rowOf(backend.database, backupId);
    assert.deepEqual([row['executiontime'], row['controller'], row['status']], ['0', '', 100]);
    assert.notEqual((await created(backup())).backupId, backupId);
  });

  it('decides by the purpose when a run starts, unless it is told', async () => {
    const usual = [10, 1, 20, 1, 30, 1, 40, 1, 50, 1, 60, 1, 70, 2, 80, 2, 999, 1];
    for (let i = 0; i < usual.length; i += 2) {
      assert.equal(
        (await created(backup({ purpose: usual[i] as Purpose }))).execution,
        usual[i + 1],
        `purpose ${usual[i]}`,
      );
    }
    for (const execution of [Execution.IMMEDIATE, Execution.DELAYED]) {
      assert.equal((await created(backup({ purpose: Purpose.COPY, execution }))).execution, execution);
    }
  });

  it('keeps int64 and the purposes of plug-ins exactly', async () => {
    for (const number of [0n, 9_007_199_254_740_993n, 2n ** 63n - 1n]) {
      for (const purpose of [999, 32767, 1] as Purpose[]) {
        const { backupId } = await created(backup({ itemId: number, userId: number, purpose }));
        const { controller } = await backend.controllers.getController({ backupId });
        assert.deepEqual([controller!.itemId, controller!.userId, controller!.purpose], [number, number, purpose]);
      }
    }
  });

  it('keeps execution times from the first to the last second', async () => {
    for (const seconds of [1n, 253_402_300_799n]) {
      const { executionTime } = await created(backup({ execution: Execution.DELAYED, executionTime: { seconds } }));
      assert.equal(executionTime!.seconds, seconds);
    }
  });

  it('knows no type yet for a restore, but needs one for a backup', async () => {
    const { backupId, type } = await created(restore());
    assert.equal(type, Type.UNSPECIFIED);
    assert.equal((await rowOf(backend.database, backupId))['type'], '');
    const refusal = { code: 'INVALID_ARGUMENT', reason: 'INVALID_FIELD', field: 'type' } as const;
    await refused(created(backup({ type: Type.UNSPECIFIED })), refusal);
  });

  it('begins in any unfinished status of the life cycle, and in no other', async () => {
    for (const operation of operations) {
      for (const interactive of [false, true]) {
        for (const status of Object.values(Statuses)) {
          const call = created({ ...(operation === 'backup' ? backup() : restore()), interactive, status });
          if (canBeIn({ operation, interactive }, status) && !isFinished(status))
            assert.equal((await call).status, status);
          else await refused(call, { code: 'INVALID_ARGUMENT', reason: 'INVALID_FIELD', field: 'status' });
        }
      }
    }
  });

  it('refuses a backup id that is taken, and leaves its controller alone', async () => {
    const backupId = newId();
    await created(backup({ backupId, itemId: 5n }));
    await refused(created(backup({ backupId, itemId: 6n })), EXISTS);
    await refused(created(restore({ backupId })), EXISTS);
    assert.equal((await backend.controllers.getController({ backupId })).controller!.itemId, 5n);
  });

  it('lets exactly one of many win that ask for the same backup id at once', async () => {
    const backupId = newId();
    const calls = Array.from({ length: 20 }, (_, i) => created(backup({ backupId, itemId: BigInt(i) })));
    assert.equal(await winners(calls, EXISTS), 1);
    const rows = await backend.database.query('select itemid from backup_controllers where backupid = $1', [backupId]);
    assert.equal(rows.length, 1);
    const won = (await Promise.allSettled(calls)).find(outcome => outcome.status === 'fulfilled')!.value;
    assert.equal(rows[0]!['itemid'], `${won.itemId}`);
  });

  it('computes the checksum of a payload, or checks the one given', async () => {
    const payload = EVERY_BYTE;
    assert.equal((await created(backup({ payload }))).checksum, md5(payload));
    assert.equal((await created(backup({ payload, checksum: md5(payload) }))).checksum, md5(payload));
    const refusal = { code: 'INVALID_ARGUMENT', reason: 'INVALID_FIELD', field: 'checksum' } as const;
    const backupId = newId();
    await refused(created(backup({ backupId, payload, checksum: 'a'.repeat(32) })), refusal);
    await refused(backend.controllers.getController({ backupId }), {
      code: 'NOT_FOUND',
      reason: 'CONTROLLER_NOT_FOUND',
    });
    assert.equal((await created(backup({ checksum: 'a'.repeat(32) }))).checksum, 'a'.repeat(32));
  });

  it('keeps the bytes of a payload of any content, up to 1 MiB', async () => {
    const largest = Buffer.alloc(1_048_576, EVERY_BYTE);
    for (const payload of [
      EVERY_BYTE,
      Uint8Array.of(0),
      Uint8Array.of(255, 254),
      Buffer.from('O:17:"backup_controller"'),
      largest,
    ]) {
      const { backupId } = await created(backup({ payload }));
      const { controller } = await backend.controllers.getController({ backupId, view: ControllerView.FULL });
      assert.ok(Buffer.from(controller!.payload).equals(payload));
    }
  });

  it("gives rows rising numbers, and times by the database's clock", async () => {
    const clock = async () =>
      BigInt((await backend.database.query('select floor(extract(epoch from now()))::text as s'))[0]!['s'] as string);
    const start = await clock();
    const [first, second] = [await created(backup()), await created(backup())];
    assert.ok(second.id > first.id && first.id > 0n);
    assert.ok(first.createTime!.seconds >= start && second.createTime!.seconds <= (await clock()));
    assert.equal(first.createTime!.nanos, 0);
  });
});

function md5(bytes: Uint8Array): string {
  return createHash('md5').update(bytes).digest('hex');
}
