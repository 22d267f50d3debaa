import { strict as assert } from 'node:assert';
import { randomUUID } from 'node:crypto';
import { ControllerView, Execution, Outcome, Purpose, Status } from '../../../src/gen/backup/v1/controller_pb.ts';
import { LogLevel } from '../../../src/gen/backup/v1/entry_pb.ts';
import { type Backend, startBackend } from '../../support/backend.ts';
import { eventually } from '../../support/eventually.ts';
import { refused, winners } from '../../support/status.ts';
import { Subscriber } from '../../support/subscriber.ts';
import { newBackupId } from '../../support/writing.ts';
import { put } from '../controller/requests.ts';
import { claimed, claimedAgain, expire, get, headOf, held, logOf, onlyWoken, queued } from './work.ts';

const ILLEGAL = { code: 'FAILED_PRECONDITION', reason: 'ILLEGAL_TRANSITION' } as const;

describe('ControllerService.RetryController', () => {
  let backend: Backend;
  before(async () => {
    backend = await startBackend({ replicas: 2, settings: onlyWoken });
  });
  after(() => backend[Symbol.asyncDispose]());

  const retry = async (backupId: string, more: { etag?: string; executionTime?: { seconds: bigint } } = {}) =>
    (await backend.controllers.retryController({ backupId, ...more })).controller!;

  /** A run of two attempts whose worker was told to cancel it and reported that it failed. */
  const failed = async (format: string) => {
    const run = { format, maxAttempts: 2, payload: Buffer.from('state'), executionTime: { seconds: 5n } };
    const lease = await held(backend, { run });
    await backend.controllers.reportProgress({ reports: [{ ...lease, progress: 0.5 }] });
    await backend.logs.appendLogs({ ...lease, entries: [{ level: LogLevel.INFO, message: 'a' }] });
    await backend.controllers.cancelController({ backupId: lease.backupId });
    await backend.controllers.finishControllers({ finishes: [{ ...lease, outcome: Outcome.FAILED, reason: 'x' }] });
    return lease.backupId;
  };

  it('puts a failed run back into the queue as if it had not run, but for its attempts and its log', async () => {
    const backupId = await failed('again');
    const before = await get(backend, backupId);
    const run = await retry(backupId);
    const { etag, updateTime, endTime: _, cancelRequestTime: __, executionTime: ___, ...same } = before;
    assert.deepEqual(run, {
      ...same,
      status: Status.AWAITING,
      outcome: Outcome.UNSPECIFIED,
      progress: 0,
      etag: run.etag,
      updateTime: run.updateTime!,
    });
    assert.notEqual(run.etag, etag);
    assert.ok(run.updateTime!.seconds >= updateTime!.seconds);
    const full = await backend.controllers.getController({ backupId, view: ControllerView.FULL });
    assert.equal(Buffer.from(full.controller!.payload).toString(), 'state');
    const log = ['1 40 a', '0 40 Asked to be cancelled', '1 20 x', '0 40 To be tried again'];
    assert.deepEqual(await logOf(backend.database, backupId), log);
    assert.deepEqual(await headOf(backend.database, backupId), ['4', null]);
    const lease = await claimedAgain(backend, backupId, { filter: { format: 'again' } });
    await backend.controllers.finishControllers({ finishes: [{ ...lease, outcome: Outcome.SUCCEEDED }] });
    const { attempt, outcome, progress } = await get(backend, backupId);
    assert.deepEqual([attempt, outcome, progress], [2, Outcome.SUCCEEDED, 1]);
    assert.deepEqual(await headOf(backend.database, backupId), ['4', '4']);
  });

  it('gives all attempts again', async () => {
    const filter = { format: 'two' };
    const { backupId } = await held(backend, { run: { format: 'two', maxAttempts: 2 } });
    const lost = async (status: Status) => {
      await expire(backend.database, backupId);
      await eventually(async () => assert.equal((await get(backend, backupId)).status, status));
    };
    await lost(Status.AWAITING);
    await claimedAgain(backend, backupId, { filter });
    await lost(Status.FINISHED_ERR);
    assert.equal((await retry(backupId)).lostAttempts, 0);
    await claimedAgain(backend, backupId, { filter });
    await lost(Status.AWAITING);
    assert.equal((await get(backend, backupId)).attempt, 3);
  });

  it('makes a run that was immediate a delayed one, not to be claimed before the time that is given', async () => {
    const run = { execution: Execution.IMMEDIATE, purpose: Purpose.GENERAL, format: 'later' };
    const { backupId } = await queued(backend, run);
    await put(backend.database, backupId, Status.FINISHED_ERR);
    const { execution, executionTime } = await retry(backupId, { executionTime: { seconds: 4_000_000_000n } });
    assert.deepEqual([execution, executionTime!.seconds], [Execution.DELAYED, 4_000_000_000n]);
    assert.deepEqual(await claimed(backend, { filter: { format: 'later' } }), []);
  });

  it('lets a tail go on, on the other replica', async () => {
    const backupId = await failed('tail');
    await using follower = new Subscriber(backend.replicas[1]!, { backupIds: [backupId], follow: true });
    await follower.told('caughtUp');
    await retry(backupId);
    const lease = await claimedAgain(backend, backupId, { filter: { format: 'tail' } });
    const finish = { ...lease, outcome: Outcome.FAILED, reason: 'once more' };
    await backend.controllers.finishControllers({ finishes: [finish] });
    await follower.received(5);
    const late = new Subscriber(backend, { backupIds: [backupId], untilFinished: true });
    assert.equal(await late.done, undefined);
    assert.deepEqual(late.history.messages(), follower.history.messages());
    assert.equal(late.history.messages().at(-1), 'once more');
  });

  it('is refused for a run that has not failed, with what is legal', async () => {
    for (const status of [100, 200, 300, 400, 500, 600, 700, 800, 1000] as Status[]) {
      const { backupId } = await queued(backend);
      await put(backend.database, backupId, status);
      const { preconditions } = await refused(retry(backupId), ILLEGAL);
      const subjects = preconditions?.violations.map(({ subject }) => subject) ?? [];
      assert.equal(subjects.includes('FINISHED_ERR'), status !== 1000);
      assert.equal((await get(backend, backupId)).status, status);
      assert.deepEqual(await logOf(backend.database, backupId), []);
    }
    const lease = await held(backend);
    await refused(retry(lease.backupId), ILLEGAL);
  });

  it('is refused when the run has changed or is not there', async () => {
    const backupId = await failed('etag');
    await refused(retry(backupId, { etag: 'old' }), { code: 'ABORTED', reason: 'ETAG_MISMATCH' });
    assert.equal((await get(backend, backupId)).status, Status.FINISHED_ERR);
    const { etag } = await get(backend, backupId);
    assert.equal((await retry(backupId, { etag })).status, Status.AWAITING);
    await refused(retry(newBackupId()), { code: 'NOT_FOUND', reason: 'CONTROLLER_NOT_FOUND' });
  });

  it('happens once, however many ask for it, and for a request id', async () => {
    const backupId = await failed('once');
    const calls = Array.from({ length: 20 }, (_, i) =>
      backend.replicas[i % 2]!.controllers.retryController({ backupId }),
    );
    assert.equal(await winners(calls, ILLEGAL), 1);
    await put(backend.database, backupId, Status.FINISHED_ERR);
    const request = { backupId, requestId: randomUUID() };
    const answers = await Promise.all([0, 1, 0].map(i => backend.replicas[i]!.controllers.retryController(request)));
    for (const answer of answers) assert.deepEqual(answer, answers[0]);
    const again = (await logOf(backend.database, backupId)).filter(line => line.endsWith('To be tried again'));
    assert.equal(again.length, 2);
  });
});
