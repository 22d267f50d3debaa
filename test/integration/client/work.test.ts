import { strict as assert } from 'node:assert';
import { randomUUID } from 'node:crypto';
import { once } from 'node:events';
import { pino } from 'pino';
import {
  Cancelled,
  connect,
  Draining,
  ErrorReason,
  LeaseLost,
  LogLevel,
  Outcome,
  RpcError,
  type Run,
  type RunEnd,
  Status,
  type WorkOptions,
} from '../../../src/client/main.ts';
import { ControllerService } from '../../../src/gen/backup/v1/controller_pb.ts';
import { CourseStatus } from '../../../src/gen/backup/v1/course_pb.ts';
import { type Backend, startBackend, startReplica } from '../../support/backend.ts';
import { Cable } from '../../support/cable.ts';
import { eventually } from '../../support/eventually.ts';
import { startToy } from '../../support/toy.ts';
import { newBackupId } from '../../support/writing.ts';
import { get, logOf, queued } from '../work/work.ts';

describe('work() of the client library', () => {
  let backend: Backend;
  beforeEach(async () => {
    backend = await startBackend();
  });
  afterEach(() => backend[Symbol.asyncDispose]());

  it('ends runs by what their handlers return or throw, with their payload, log and progress', async () => {
    const wishes = ['good', 'fair', 'bad'];
    const runs = [];
    for (const wish of wishes) runs.push(await queued(backend, { payload: Buffer.from(wish) }));
    const progress: number[] = [];
    await using worker = start({
      concurrency: 2,
      async handler(run) {
        const wish = Buffer.from(await run.payload()).toString();
        await run.log.write(LogLevel.INFO, `${wish} begins`);
        run.progress(0.5);
        await eventually(
          async () => progress.push((await get(backend, run.backupId)).progress) && assert.equal(progress.at(-1), 0.5),
        );
        if (wish === 'bad') throw new Error('out of luck\0');
        return { warnings: wish === 'fair' };
      },
    });
    await eventually(() => assert.equal(worker.ended.length, 3));
    const ends = await Promise.all(runs.map(({ backupId }) => get(backend, backupId)));
    assert.deepEqual(
      ends.map(({ status, outcome }) => [status, outcome]),
      [
        [Status.FINISHED_OK, Outcome.SUCCEEDED],
        [Status.FINISHED_OK, Outcome.SUCCEEDED_WITH_WARNINGS],
        [Status.FINISHED_ERR, Outcome.FAILED],
      ],
    );
    assert.deepEqual(await logOf(backend.database, runs[0]!.backupId), ['1 40 good begins']);
    assert.deepEqual(await logOf(backend.database, runs[2]!.backupId), ['1 40 bad begins', '1 20 out of luck\u2400']);
    assert.deepEqual(worker.results().toSorted(), [Outcome.SUCCEEDED, Outcome.SUCCEEDED_WITH_WARNINGS, Outcome.FAILED]);
  });

  it('keeps the leases of all runs by one call for all, never holds more than it may, and claims as runs end', async () => {
    const lines: Record<string, unknown>[] = [];
    const log = pino({ level: 'debug' }, { write: (line: string) => void lines.push(JSON.parse(line)) });
    await using replica = await startReplica(backend.database.url, {}, log);
    for (let i = 0; i < 12; i++) await queued(backend);
    const go = new AbortController();
    let [now, most] = [0, 0];
    await using worker = start({
      address: replica.address,
      concurrency: 10,
      leaseSeconds: 5,
      async handler() {
        most = Math.max(most, ++now);
        if (!go.signal.aborted) await once(go.signal, 'abort');
        now--;
      },
    });
    const reports = () => lines.filter(({ method }) => String(method).endsWith('/ReportProgress')).length;
    await eventually(() => assert.ok(reports() >= 3 && most >= 10));
    assert.equal(most, 10);
    const rows = await backend.database.query(
      'select min(leaseexpires - leasedat) as held from backup_controllers where leasetoken is not null',
    );
    assert.ok(Number(rows[0]!['held']) > 6000, 'leases were not renewed');
    go.abort();
    await eventually(() => assert.equal(worker.ended.length, 12));
    assert.deepEqual(new Set(worker.results()), new Set([Outcome.SUCCEEDED]));
    assert.ok(reports() < 40, `${reports()} calls`);
  });

  it('tells a handler that its run is cancelled, and the run ends as cancelled', async () => {
    const { backupId } = await queued(backend);
    await using worker = start({ leaseSeconds: 1, handler: untilStopped });
    await eventually(() => assert.equal(worker.started.length, 1));
    await backend.controllers.cancelController({ backupId, reason: 'wrong course' });
    await eventually(() => assert.deepEqual(worker.results(), [Outcome.CANCELLED]));
    assert.ok(worker.started[0]!.signal.reason instanceof Cancelled);
    assert.equal((await get(backend, backupId)).outcome, Outcome.CANCELLED);
  });

  it('tells a handler that its lease is lost, and writes nothing more', async () => {
    const { backupId } = await queued(backend);
    await using worker = start({ leaseSeconds: 1, handler: untilStopped });
    await eventually(() => assert.equal(worker.started.length, 1));
    await backend.controllers.deleteController({ backupId, force: true });
    await eventually(() => assert.deepEqual(worker.results(), ['LOST']));
    const [run] = worker.started;
    assert.ok(run!.signal.reason instanceof LeaseLost);
    await assert.rejects(run!.log.write(LogLevel.INFO, 'too late'));
    assert.deepEqual(await logOf(backend.database, backupId), []);
  });

  it('believes the answer to its end, and not a report that the end has overtaken', async () => {
    let given = false;
    await using peer = await startToy(ControllerService, {
      async claimControllers() {
        const claimed = given ? [] : [{ controller: { backupId: newBackupId() }, leaseToken: randomUUID() }];
        given = true;
        return { claimed };
      },
      async finishControllers() {
        await eventually(() => assert.ok(peer.reports.some(({ method }) => method.endsWith('/ReportProgress'))));
        return { results: [{ outcome: Outcome.SUCCEEDED }] };
      },
      async reportProgress() {
        return { results: [{ error: { reason: ErrorReason.LEASE_LOST, message: 'it has ended' } }] };
      },
    });
    await using worker = start({
      address: `127.0.0.1:${peer.server.port}`,
      leaseSeconds: 1,
      async handler() {},
    });
    await eventually(() => assert.deepEqual(worker.results(), [Outcome.SUCCEEDED]));
  });

  it('drains: claims nothing more, lets runs end within the grace, and gives the others back', async () => {
    const [slow, deaf] = [await queued(backend), await queued(backend)];
    const go = new AbortController();
    const worker = start({
      concurrency: 3,
      graceMs: 1000,
      async handler(run) {
        await run.log.write(LogLevel.INFO, 'begins');
        if (run.backupId === slow.backupId) await once(go.signal, 'abort');
        else await untilStopped(run);
      },
    });
    await eventually(() => assert.equal(worker.started.length, 2));
    worker.drain();
    const later = await queued(backend);
    go.abort();
    await worker.done;
    assert.deepEqual(worker.results(), [Outcome.SUCCEEDED, 'RELEASED']);
    assert.ok(worker.started[1]!.signal.reason instanceof Draining);
    const [done, back, untouched] = await Promise.all(
      [slow, deaf, later].map(({ backupId }) => get(backend, backupId)),
    );
    assert.equal(done!.status, Status.FINISHED_OK);
    assert.deepEqual([back!.status, back!.lease], [Status.AWAITING, undefined]);
    assert.deepEqual([untouched!.status, untouched!.lease], [Status.AWAITING, undefined]);
    assert.ok(!worker.started.some(({ backupId }) => backupId === later.backupId));
    assert.deepEqual(await logOf(backend.database, deaf.backupId).then(log => log[0]), '1 40 begins');
  });

  it('works every run once, whatever connections do', async () => {
    await using cable = await Cable.start(new URL(`http://${backend.address}`));
    const runs = [];
    for (let i = 0; i < 40; i++) runs.push(await queued(backend));
    await using worker = start({
      address: { address: `127.0.0.1:${cable.port}`, keepaliveMs: 200 },
      concurrency: 5,
      async handler(run) {
        for (let i = 0; i < 20; i++) await run.log.write(LogLevel.INFO, `line ${i}`);
        await run.log.flush();
      },
    });
    for (const count of [8, 16, 24]) {
      await eventually(() => assert.ok(worker.ended.length >= count));
      cable.cut();
    }
    await eventually(() => assert.ok(worker.ended.length >= 30));
    cable.freeze();
    await eventually(() => assert.equal(worker.ended.length, 40));
    assert.deepEqual(new Set(worker.results()), new Set([Outcome.SUCCEEDED]));
    assert.equal(new Set(worker.started.map(({ backupId }) => backupId)).size, 40);
    for (const { backupId } of runs) {
      const { status, attempt } = await get(backend, backupId);
      assert.deepEqual(
        [status, attempt, (await logOf(backend.database, backupId)).length],
        [Status.FINISHED_OK, 1, 20],
      );
    }
  });

  it('claims due courses, too', async () => {
    await backend.courses.upsertCourses({ courses: [{ courseId: 42n }] });
    await backend.courses.runCourseNow({ courseId: 42n });
    const other = await queued(backend);
    await using worker = start({ courses: { userId: 2n }, concurrency: 2, handler: async () => {} });
    await eventually(() => assert.equal(worker.ended.length, 2));
    const run = worker.started.find(({ course }) => course)!;
    assert.deepEqual([run.course!.courseId, run.controller.userId, run.slotTime instanceof Date], [42n, 2n, true]);
    assert.equal((await backend.courses.getCourse({ courseId: 42n })).course!.lastStatus, CourseStatus.OK);
    assert.equal((await get(backend, other.backupId)).status, Status.FINISHED_OK);
  });

  it('fails when it is refused', async () => {
    const worker = start({ worker: '', handler: untilStopped });
    await assert.rejects(
      worker.done,
      (error: RpcError) => error instanceof RpcError && error.reason === 'INVALID_FIELD',
    );
  });

  /** A worker that keeps what has happened; it is drained when it is disposed of. */
  function start({
    address = backend.address,
    handler,
    ...more
  }: Partial<WorkOptions> & {
    address?: Parameters<typeof connect>[0];
    handler: (run: Run) => Promise<never> | ReturnType<WorkOptions['handler']>;
  }) {
    const service = connect(address);
    const stop = new AbortController();
    const started: Run[] = [];
    const ended: RunEnd[] = [];
    const done = service
      .work({
        worker: 'test',
        drainOn: [],
        signal: stop.signal,
        onEnd: (_, end) => void ended.push(end),
        ...more,
        handler: async run => {
          started.push(run);
          return (await handler(run)) ?? undefined;
        },
      })
      .finally(() => service.close());
    return {
      started,
      ended,
      done,
      results: () => ended.map(({ result }) => result),
      drain: () => stop.abort(),
      async [Symbol.asyncDispose]() {
        stop.abort();
        await done;
      },
    };
  }
});

async function untilStopped({ signal }: Run): Promise<never> {
  if (!signal.aborted) await once(signal, 'abort');
  throw signal.reason;
}
