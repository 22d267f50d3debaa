import { strict as assert } from 'node:assert';
import { randomUUID } from 'node:crypto';
import type { MessageInitShape } from '@bufbuild/protobuf';
import {
  type ControllerFinishSchema,
  ControllerView,
  Outcome,
  OutcomeSchema,
  Status,
} from '../../../src/gen/backup/v1/controller_pb.ts';
import { LogLevel } from '../../../src/gen/backup/v1/entry_pb.ts';
import { type Backend, type Replica, startBackend } from '../../support/backend.ts';
import { eventually } from '../../support/eventually.ts';
import { refused } from '../../support/status.ts';
import { Subscriber } from '../../support/subscriber.ts';
import { append } from '../../support/writing.ts';
import { rowOf } from '../controller/requests.ts';
import { assertLost, get, headOf, held, heldMany, logOf, now, onlyWoken, queued, standstill } from './work.ts';

type Finish = MessageInitShape<typeof ControllerFinishSchema>;

const line = (message: string, level: LogLevel = LogLevel.INFO) => ({ level, message });

describe('ControllerService.FinishControllers', () => {
  let backend: Backend;
  before(async () => {
    backend = await startBackend({ replicas: 2, settings: onlyWoken });
  });
  after(() => backend[Symbol.asyncDispose]());

  const finish = async (finishes: Finish[], { controllers }: Pick<Replica, 'controllers'> = backend, requestId = '') =>
    (await controllers.finishControllers({ finishes, requestId })).results;

  for (const [outcome, reason, status, progress, payload, last] of [
    [Outcome.SUCCEEDED, '', Status.FINISHED_OK, 1, '', []],
    [Outcome.SUCCEEDED_WITH_WARNINGS, '', Status.FINISHED_OK, 1, '', []],
    [Outcome.FAILED, 'disk full', Status.FINISHED_ERR, 0.5, 'state', ['1 20 disk full']],
  ] as const) {
    it(`writes everything that belongs to ${OutcomeSchema.value[outcome]!.localName}, and tells those who tail on the other replica`, async () => {
      const lease = await held(backend, { run: { payload: Buffer.from('state'), maxAttempts: 5 } });
      const { backupId } = lease;
      await backend.controllers.reportProgress({ reports: [{ ...lease, progress: 0.5 }] });
      await backend.logs.appendLogs({ ...lease, entries: [line('a'), line('b')] });
      await using subscriber = new Subscriber(backend.replicas[1]!, { backupIds: [backupId], untilFinished: true });
      await subscriber.told('caughtUp');
      const before = await get(backend, backupId);
      const start = Math.floor(await now(backend.database));
      const [result] = await finish([{ ...lease, outcome, reason, entries: [line('c', 40), line('d', 30)] }]);
      const sealedId = 4n + BigInt(last.length);
      assert.deepEqual(
        [result!.backupId, result!.status, result!.outcome, result!.sealedId, result!.error],
        [backupId, status, outcome, sealedId, undefined],
      );
      const after = await get(backend, backupId);
      const { lease: _, endTime, updateTime, etag, ...same } = after;
      assert.deepEqual(same, { ...rest(before), status, outcome, progress });
      assert.notEqual(etag, before.etag);
      assert.ok(Number(endTime!.seconds) >= start && Number(endTime!.seconds) <= (await now(backend.database)));
      assert.deepEqual(updateTime, endTime);
      const { controller } = await backend.controllers.getController({ backupId, view: ControllerView.FULL });
      assert.equal(Buffer.from(controller!.payload).toString(), payload);
      assert.deepEqual(await logOf(backend.database, backupId), ['1 40 a', '1 40 b', '1 40 c', '1 30 d', ...last]);
      assert.deepEqual(await headOf(backend.database, backupId), [`${sealedId}`, `${sealedId}`]);
      assert.equal(await subscriber.done, undefined);
      assert.equal(subscriber.history.end, 'SEALED');
      assert.deepEqual(subscriber.history.messages(), ['a', 'b', 'c', 'd', ...(reason ? [reason] : [])]);
      assert.equal(subscriber.history.all('state').at(-1)!.status, status);
    });
  }

  it('seals a log that has no entries', async () => {
    const lease = await held(backend);
    const [result] = await finish([{ ...lease, outcome: Outcome.SUCCEEDED }]);
    assert.equal(result!.sealedId, 0n);
    assert.deepEqual(await headOf(backend.database, lease.backupId), ['0', '0']);
  });

  it('makes a failure CANCELLED when the cancellation was asked for, and leaves a success what it is', async () => {
    for (const [outcome, reason, kept] of [
      [Outcome.FAILED, 'stopped', Outcome.CANCELLED],
      [Outcome.SUCCEEDED, '', Outcome.SUCCEEDED],
    ] as const) {
      const lease = await held(backend);
      await backend.controllers.cancelController({ backupId: lease.backupId });
      const [result] = await finish([{ ...lease, outcome, reason }]);
      assert.deepEqual([result!.outcome, (await get(backend, lease.backupId)).outcome], [kept, kept]);
    }
  });

  it('ends many at once, each for itself and in their order', async () => {
    const leases = await heldMany(backend, backend.database, 200);
    const free = await queued(backend);
    const finishes = leases.map((lease, i): Finish => {
      const leaseToken = i % 3 === 0 ? randomUUID() : lease.leaseToken;
      const failed = i % 2 === 0 && { outcome: Outcome.FAILED, reason: `failed ${i}` };
      return { ...lease, leaseToken, outcome: Outcome.SUCCEEDED, ...failed, entries: [line(`${i}`)] };
    });
    finishes.splice(100, 0, { backupId: free.backupId, leaseToken: randomUUID(), outcome: Outcome.SUCCEEDED });
    const results = await finish(finishes);
    for (const [at, { backupId, error, status, sealedId }] of results.entries()) {
      assert.equal(backupId, finishes[at]!.backupId);
      const i = leases.findIndex(lease => lease.backupId === backupId);
      if (i % 3 === 0 || i < 0) assertLost(error);
      else assert.deepEqual([status, sealedId], i % 2 ? [Status.FINISHED_OK, 1n] : [Status.FINISHED_ERR, 2n]);
    }
    for (const i of [0, 1, 2, 3]) {
      const expected = [[], ['1 40 1'], ['1 40 2', '1 20 failed 2'], []][i];
      assert.deepEqual(await logOf(backend.database, leases[i]!.backupId), expected);
      assert.equal((await get(backend, leases[i]!.backupId)).status, [800, 1000, 900, 800][i]);
    }
    for (const { error } of await finish(finishes)) assertLost(error);
  });

  it('of many runs at once in opposite orders, and reports of them, never wait in a circle', async () => {
    const leases = await heldMany(backend, backend.database, 400);
    for (let i = 0; i < 400; i += 50) {
      const some = leases.slice(i, i + 50);
      const orders = [some, some.toReversed()];
      const endings = [0, 1, 0, 1].map(n =>
        finish(
          orders[n]!.map(lease => ({ ...lease, outcome: Outcome.SUCCEEDED })),
          backend.replicas[n],
          i % 100 ? randomUUID() : '',
        ),
      );
      const reporting = [1, 0].map(n =>
        backend.replicas[n]!.controllers.reportProgress({ reports: orders[n]!, requestId: randomUUID() }),
      );
      const results = (await Promise.all(endings)).flat();
      await Promise.all(reporting);
      const ended = results.filter(({ error }) => !error).map(({ backupId }) => backupId);
      assert.deepEqual(ended.toSorted(), some.map(({ backupId }) => backupId).toSorted());
    }
  });

  it('gives the first answer again for a request id, and is refused for lost leases without one', async () => {
    const lease = await held(backend);
    const finishes = [{ ...lease, outcome: Outcome.FAILED, reason: 'x' }];
    const requestId = randomUUID();
    const answers = await Promise.all([0, 1, 0, 1].map(i => finish(finishes, backend.replicas[i], requestId)));
    await backend.controllers.retryController({ backupId: lease.backupId });
    answers.push(await finish(finishes, backend, requestId));
    for (const answer of answers) assert.deepEqual(answer, answers[0]);
    assert.equal(answers[0]![0]!.status, Status.FINISHED_ERR);
    assertLost((await finish(finishes))[0]!.error);
    assert.equal((await get(backend, lease.backupId)).status, Status.AWAITING);
    await refused(finish([{ ...lease, outcome: Outcome.SUCCEEDED }], backend, requestId), {
      code: 'INVALID_ARGUMENT',
      reason: 'REQUEST_ID_REUSED',
    });
  });

  it('writes all of a run or nothing: one that the database refuses leaves the others in the same batch alone', async () => {
    await backend.database.query('alter table backup_logs add constraint no_poison check (message <> $$poison$$)');
    const [good, bad, other] = await heldMany(backend, backend.database, 3);
    for (const lease of [good!, bad!]) await backend.logs.appendLogs({ ...lease, entries: [line('a')] });
    const before = await rowOf(backend.database, bad!.backupId);
    const end = (lease: typeof good, message: string): Finish => ({
      ...lease!,
      outcome: Outcome.SUCCEEDED,
      entries: [line('b'), line(message)],
    });
    await using pause = await standstill(backend.database);
    const busy = await pause.occupied(() =>
      finish([{ ...other!, leaseToken: randomUUID(), outcome: Outcome.SUCCEEDED }]),
    );
    const calls = [finish([end(good, 'c')]), finish([end(other, 'c'), end(bad, 'poison')])];
    const refusal = refused(calls[1]!, { code: 'INTERNAL', reason: 'INTERNAL' });
    await eventually(() => assert.equal(backend.app.admission.calls, 4));
    await pause[Symbol.asyncDispose]();
    for (const call of busy) assertLost((await call)[0]!.error);
    assert.equal((await calls[0]!)[0]!.sealedId, 3n);
    await refusal;
    const { leaseexpires: _, ...after } = await rowOf(backend.database, bad!.backupId);
    assert.deepEqual({ ...after, leaseexpires: before['leaseexpires'] }, before);
    assert.deepEqual(await logOf(backend.database, bad!.backupId), ['1 40 a']);
    assert.deepEqual(await headOf(backend.database, bad!.backupId), ['1', null]);
    assert.deepEqual(await logOf(backend.database, other!.backupId), []);
    assert.equal((await finish([end(bad, 'd')]))[0]!.sealedId, 3n);
  });

  it('drops entries that are more verbose than the service keeps, but never the reason', async () => {
    await using terse = await startBackend({ settings: { LOG_KEEP_LEVEL: 'none', LOG_MAX_MESSAGE_BYTES: '10' } });
    const lease = await held(terse);
    const call = (message: string) =>
      finish(
        [{ ...lease, outcome: Outcome.FAILED, reason: 'the disk is full', entries: [line('ok'), line(message)] }],
        terse,
      );
    const field = 'finishes[0].entries[1].message';
    await refused(call('éééééé'), { code: 'INVALID_ARGUMENT', reason: 'INVALID_FIELD', field });
    assert.deepEqual(await logOf(terse.database, lease.backupId), []);
    assert.equal((await call('ééééé'))[0]!.sealedId, 1n);
    assert.deepEqual(await logOf(terse.database, lease.backupId), ['1 20 the disk is full']);
  });

  it('keeps entries behind the seal that come without a lease', async () => {
    const lease = await held(backend);
    await finish([{ ...lease, outcome: Outcome.SUCCEEDED, entries: [line('a')] }]);
    await append(backend, lease.backupId, ['late']);
    assert.deepEqual(await headOf(backend.database, lease.backupId), ['2', '1']);
    assert.deepEqual(await logOf(backend.database, lease.backupId), ['1 40 a', '0 40 late']);
  });

  it('is not refused to the holder because one whose lease is lost says the same at the same time', async () => {
    const lease = await held(backend, { run: { maxAttempts: 2 } });
    await using pause = await standstill(backend.database);
    const stranger = { ...lease, leaseToken: randomUUID(), outcome: Outcome.FAILED, reason: 'not mine' };
    const busy = await pause.occupied(() => finish([stranger]));
    const calls: ReturnType<typeof finish>[] = [];
    for (const one of [stranger, { ...lease, outcome: Outcome.SUCCEEDED, entries: [line('mine')] }]) {
      calls.push(finish([one]));
      await eventually(() => assert.equal(backend.app.admission.calls, 2 + calls.length));
    }
    await pause[Symbol.asyncDispose]();
    for (const call of [...busy, calls[0]!]) assertLost((await call)[0]!.error);
    assert.equal((await calls[1]!)[0]!.status, Status.FINISHED_OK);
    assert.deepEqual(await logOf(backend.database, lease.backupId), ['1 40 mine']);
  });
});

function rest<T extends { lease?: unknown; endTime?: unknown; updateTime?: unknown; etag: unknown }>(controller: T) {
  const { lease: _, endTime, updateTime, etag, ...same } = controller;
  return same;
}
