import { strict as assert } from 'node:assert';
import { type ServiceError, status } from '@grpc/grpc-js';
import { ErrorReason, StatusError } from '../../src/errors.ts';
import { ControllerService } from '../../src/gen/backup/v1/controller_pb.ts';
import { CourseService } from '../../src/gen/backup/v1/course_pb.ts';
import { LogService } from '../../src/gen/backup/v1/log_pb.ts';
import { Health, HealthCheckResponse_ServingStatus as Serving } from '../../src/gen/health/v1/health_pb.ts';
import type { CallContext } from '../../src/grpc/call.ts';
import { createClient } from '../../src/grpc/client.ts';
import { eventually } from '../support/eventually.ts';
import { refused } from '../support/status.ts';
import { generous, startToy } from '../support/toy.ts';

const backupIds = ['0123456789abcdef0123456789abcdef'];

/** A handler that answers when it is let go. */
function gate() {
  const { promise, resolve } = Promise.withResolvers<void>();
  let context: CallContext | undefined;
  return {
    open: resolve,
    entered: () => eventually(() => context ?? assert.fail('no call yet')),
    async wait(_request: unknown, own: CallContext) {
      context = own;
      await promise;
      return {};
    },
  };
}

describe('the transport, for calls that are not streams', () => {
  it('answers with what the handler returns, and reports the call', async () => {
    await using toy = await startToy(CourseService, { getCourse: async ({ courseId }) => ({ course: { courseId } }) });
    const { course } = await toy.client.getCourse(
      { courseId: 2n ** 63n - 1n },
      { metadata: { 'x-request-id': 'mine' } },
    );
    assert.equal(course!.courseId, 2n ** 63n - 1n);
    const [report] = toy.reports;
    assert.deepEqual(
      [report!.method, report!.code, report!.requestId],
      ['backup.v1.CourseService/GetCourse', 'OK', 'mine'],
    );
    assert.ok(report!.durationMs > 0);
    assert.equal(toy.reports.length, 1);
  });

  it('says nothing of an unexpected error but an id, under which the report has it', async () => {
    const fault = new Error('password=secret');
    await using toy = await startToy(CourseService, {
      getCourse: async () => {
        throw fault;
      },
    });
    const details = await refused(toy.client.getCourse({ courseId: 1n }), { code: 'INTERNAL', reason: 'INTERNAL' });
    assert.ok(
      !JSON.stringify(details, (_, value) => (typeof value === 'bigint' ? `${value}` : value)).includes('secret'),
    );
    assert.equal(toy.reports[0]!.error, fault);
    assert.equal(details.request?.requestId, toy.reports[0]!.requestId);
  });

  it('makes an id of its own when the caller gives none or a strange one', async () => {
    await using toy = await startToy(CourseService, { getCourse: async () => ({}) });
    for (const given of ['', 'with space', 'x'.repeat(129)]) {
      await toy.client.getCourse({ courseId: 1n }, { metadata: given ? { 'x-request-id': given } : {} });
      assert.match(toy.reports.at(-1)!.requestId, /^[0-9a-f-]{36}$/);
    }
  });

  it("tells the handler of a cancel and of the client's deadline", async () => {
    const gates = [gate(), gate()];
    let calls = 0;
    await using toy = await startToy(CourseService, {
      getCourse: (request, context) => gates[calls++]!.wait(request, context),
    });
    const abort = new AbortController();
    const cancelled = toy.client.getCourse({ courseId: 1n }, { signal: abort.signal });
    const context = await gates[0]!.entered();
    abort.abort();
    await assert.rejects(cancelled, { code: status.CANCELLED });
    await eventually(() => assert.ok(context.signal.aborted));
    await assert.rejects(toy.client.getCourse({ courseId: 1n }, { timeoutMs: 50 }), { code: status.DEADLINE_EXCEEDED });
    await eventually(() =>
      assert.deepEqual(
        toy.reports.map(report => report.code),
        ['CANCELLED', 'DEADLINE_EXCEEDED'],
      ),
    );
    assert.equal(toy.server.admission.calls, 0);
  });

  it('limits how long a call takes by itself', async () => {
    const { wait } = gate();
    await using toy = await startToy(CourseService, { getCourse: wait }, { callTimeoutMs: 50 });
    await refused(toy.client.getCourse({ courseId: 1n }), { code: 'DEADLINE_EXCEEDED', reason: 'DEADLINE_EXCEEDED' });
  });

  it('on shutdown lets running calls finish and refuses new ones', async () => {
    const { open, entered, wait } = gate();
    await using toy = await startToy(CourseService, { getCourse: wait });
    const running = toy.client.getCourse({ courseId: 1n });
    await entered();
    const closed = toy.server[Symbol.asyncDispose]();
    await refused(toy.client.getCourse({ courseId: 2n }), { code: 'UNAVAILABLE', reason: 'DRAINING' });
    open();
    await running;
    await closed;
  });

  it('on shutdown does not wait longer than the grace period', async () => {
    const { entered, wait } = gate();
    await using toy = await startToy(CourseService, { getCourse: wait }, { graceMs: 100 });
    const running = toy.client.getCourse({ courseId: 1n }).catch((error: ServiceError) => error);
    await entered();
    const began = performance.now();
    await toy.server[Symbol.asyncDispose]();
    assert.ok(performance.now() - began < 4000);
    assert.ok((await running) instanceof Error);
  });
});

describe('the transport, for streams', () => {
  it('sends the header at once, and the status of an error after what came before it', async () => {
    await using toy = await startToy(LogService, {
      async *tailLogs() {
        yield { event: { case: 'checkpoint', value: {} } };
        throw new StatusError(ErrorReason.HISTORY_DIVERGED, 'another history');
      },
    });
    const seen: unknown[] = [];
    const read = async () => {
      for await (const { event } of toy.client.tailLogs({ backupIds })) seen.push(event.case);
    };
    await refused(read(), { code: 'ABORTED', reason: 'HISTORY_DIVERGED' });
    assert.deepEqual(seen, ['checkpoint']);
    assert.equal(toy.reports[0]!.sent, 1);
  });

  it("runs the handler's finally when the client leaves the loop", async () => {
    let finished = 0;
    await using toy = await startToy(LogService, {
      async *tailLogs() {
        try {
          for (;;) yield { event: { case: 'checkpoint', value: { resumeToken: 'x'.repeat(1000) } } };
        } finally {
          finished++;
        }
      },
    });
    for await (const _ of toy.client.tailLogs({ backupIds })) break;
    await eventually(() => assert.equal(finished, 1));
    await eventually(() => assert.equal(toy.server.admission.streams, 0));
    assert.equal(toy.reports[0]!.code, 'CANCELLED');
  });

  it('checks the request before the handler sees it', async () => {
    await using toy = await startToy(LogService, {
      // biome-ignore lint/correctness/useYield: it must not come to that
      async *tailLogs() {
        assert.fail('reached the handler');
      },
    });
    const read = async () => {
      for await (const _ of toy.client.tailLogs({ backupIds: ['X'] }));
    };
    await refused(read(), { code: 'INVALID_ARGUMENT', reason: 'INVALID_FIELD', field: 'backup_ids[0]' });
  });

  it('ends a health watch on shutdown, with NOT_SERVING', async () => {
    await using toy = await startToy(CourseService, {});
    toy.server.health.serving = true;
    const health = createClient(Health, toy.channel);
    const seen: Serving[] = [];
    const watching = (async () => {
      for await (const { status } of health.watch({ service: 'backup.v1.CourseService' })) seen.push(status);
    })();
    await eventually(() => assert.deepEqual(seen, [Serving.SERVING]));
    const began = performance.now();
    await toy.server[Symbol.asyncDispose]();
    await watching;
    assert.deepEqual(seen, [Serving.SERVING, Serving.NOT_SERVING]);
    assert.ok(performance.now() - began < 4000);
  });

  it('knows the health of each service by name, and no other', async () => {
    await using toy = await startToy(CourseService, {});
    const health = createClient(Health, toy.channel);
    for (const service of ['', 'backup.v1.CourseService']) {
      assert.equal((await health.check({ service })).status, Serving.NOT_SERVING);
      toy.server.health.serving = true;
      assert.equal((await health.check({ service })).status, Serving.SERVING);
      toy.server.health.serving = false;
    }
    await refused(health.check({ service: 'backup.v1.Nothing' }), { code: 'NOT_FOUND', reason: 'SERVICE_UNKNOWN' });
    // Repeated in the refusal, that name did not fit into its headers, and the connection was lost with it.
    const long = '😀'.repeat(20_000);
    const { message } = await refused(health.check({ service: long }), {
      code: 'NOT_FOUND',
      reason: 'SERVICE_UNKNOWN',
    });
    assert.ok(message.length < 2100 && message.isWellFormed());
    assert.deepEqual(Object.keys((await health.list({})).statuses).sort(), ['', 'backup.v1.CourseService']);
    for await (const { status } of health.watch({ service: 'unknown' })) {
      assert.equal(status, Serving.SERVICE_UNKNOWN);
      break;
    }
  });
});

describe('the transport, for streams of requests', () => {
  const backupId = backupIds[0]!;
  const begin = { part: { case: 'start', value: { backupId } } } as const;
  const chunk = { part: { case: 'chunk', value: Buffer.alloc(64 * 1024) } } as const;
  const end = { part: { case: 'finish', value: { checksum: backupId } } } as const;

  /** Requests without end, and how many of them were asked for. */
  function endless() {
    const stream = {
      asked: 0,
      left: false,
      *[Symbol.iterator]() {
        try {
          for (yield begin; ; stream.asked++) yield chunk;
        } finally {
          stream.left = true;
        }
      },
    };
    return stream;
  }

  /** One request, and then silence. */
  async function* silent() {
    yield begin;
    await new Promise(() => {});
  }

  const idle = (toy: { server: { admission: { calls: number; streams: number } } }) =>
    eventually(() => assert.deepEqual([toy.server.admission.calls, toy.server.admission.streams], [0, 0]));

  it('hands on the requests in their order, and answers once', async () => {
    const seen: unknown[] = [];
    await using toy = await startToy(ControllerService, {
      async uploadPayload(requests) {
        for await (const { part } of requests) seen.push(part.case);
        return { size: 7n };
      },
    });
    const metadata = { 'x-request-id': 'mine' };
    const { size } = await toy.client.uploadPayload([begin, chunk, chunk, end], { metadata });
    assert.equal(size, 7n);
    assert.deepEqual(seen, ['start', 'chunk', 'chunk', 'finish']);
    assert.deepEqual(
      toy.reports.map(({ code, requestId, sent }) => [code, requestId, sent]),
      [['OK', 'mine', undefined]],
    );
  });

  it('lets the peer wait while the handler does not read', async () => {
    const { entered, wait } = gate();
    await using toy = await startToy(ControllerService, {
      async uploadPayload(requests, context) {
        for await (const _ of requests) return wait(undefined, context);
        return {};
      },
      getController: async () => ({}),
    });
    const abort = new AbortController();
    const stream = endless();
    const call = toy.client.uploadPayload(stream, { signal: abort.signal });
    await entered();
    // Each goes there and back on the same connection, which has time for as many chunks.
    for (let i = 0; i < 60; i++) await toy.client.getController({ backupId });
    // 1 MiB that a client keeps for another try, and what is in flight.
    assert.ok(stream.asked < 64, `${stream.asked} were taken`);
    abort.abort();
    await assert.rejects(call, { code: status.CANCELLED });
    await eventually(() => assert.ok(stream.left));
  });

  it('refuses in the middle, also a peer that never stops sending', async () => {
    await using toy = await startToy(ControllerService, {
      async uploadPayload(requests) {
        let count = 0;
        for await (const _ of requests) if (++count > 100) break;
        throw new StatusError(ErrorReason.PAYLOAD_TOO_LARGE, 'too much');
      },
    });
    const stream = endless();
    const refusal = { code: 'FAILED_PRECONDITION', reason: 'PAYLOAD_TOO_LARGE' } as const;
    await refused(toy.client.uploadPayload(stream), refusal);
    await eventually(() => assert.ok(stream.left));
    await idle(toy);
  });

  it('checks each request before the handler sees it', async () => {
    let seen = 0;
    await using toy = await startToy(ControllerService, {
      async uploadPayload(requests) {
        for await (const _ of requests) seen++;
        return {};
      },
    });
    const wrong = { part: { case: 'finish', value: { checksum: 'X' } } } as const;
    await refused(toy.client.uploadPayload([begin, wrong, chunk]), {
      code: 'INVALID_ARGUMENT',
      reason: 'INVALID_FIELD',
      field: 'finish.checksum',
    });
    assert.equal(seen, 1);
  });

  it('ends a peer that sends nothing for too long, but neither a long call nor a handler that takes its time', async () => {
    const late = gate();
    await using toy = await startToy(
      ControllerService,
      {
        async uploadPayload(requests, context) {
          for await (const { part } of requests) if (part.case === 'chunk') await late.wait(undefined, context);
          return {};
        },
      },
      { writeTimeoutMs: 50, callTimeoutMs: 50 },
    );
    const began = performance.now();
    const slow = toy.client.uploadPayload([begin, chunk, chunk, end]);
    await late.entered();
    await refused(toy.client.uploadPayload(silent()), { code: 'DEADLINE_EXCEEDED', reason: 'DEADLINE_EXCEEDED' });
    await eventually(() => assert.ok(performance.now() - began > 150));
    late.open();
    await slow;
    await idle(toy);
  });

  it("tells the handler of a cancel and of the client's deadline while it waits for a request", async () => {
    await using toy = await startToy(ControllerService, {
      async uploadPayload(requests, { signal }) {
        for await (const _ of requests);
        // A client that cancels may end its requests first.
        if (!signal.aborted) await new Promise(resolve => signal.addEventListener('abort', resolve));
        signal.throwIfAborted();
        return {};
      },
    });
    const abort = new AbortController();
    const cancelled = toy.client.uploadPayload(silent(), { signal: abort.signal });
    await eventually(() => assert.equal(toy.server.admission.streams, 1));
    abort.abort();
    await assert.rejects(cancelled, { code: status.CANCELLED });
    await idle(toy);

    await assert.rejects(toy.client.uploadPayload(silent(), { timeoutMs: 50 }), { code: status.DEADLINE_EXCEEDED });
    await idle(toy);
    assert.deepEqual(
      toy.reports.map(report => report.code),
      ['CANCELLED', 'DEADLINE_EXCEEDED'],
    );
  });

  it('counts them as streams', async () => {
    await using toy = await startToy(
      ControllerService,
      {
        async uploadPayload(requests) {
          for await (const _ of requests);
          return {};
        },
      },
      { limits: { ...generous, streams: 1 } },
    );
    const abort = new AbortController();
    const open = toy.client.uploadPayload(silent(), { signal: abort.signal });
    await eventually(() => assert.equal(toy.server.admission.streams, 1));
    const tooMany = { code: 'RESOURCE_EXHAUSTED', reason: 'TOO_MANY_STREAMS' } as const;
    await refused(toy.client.uploadPayload([begin]), tooMany);
    abort.abort();
    await assert.rejects(open);
    await idle(toy);
    await toy.client.uploadPayload([begin]);
  });

  it('on shutdown ends those that are still sent, and finishes one that was sent', async () => {
    const { open, entered, wait } = gate();
    await using toy = await startToy(ControllerService, {
      async uploadPayload(requests, context) {
        for await (const _ of requests);
        return wait(undefined, context);
      },
    });
    const complete = toy.client.uploadPayload([begin, end]);
    await entered();
    const unfinished = toy.client.uploadPayload(silent());
    await eventually(() => assert.equal(toy.server.admission.streams, 2));
    const closed = toy.server[Symbol.asyncDispose]();
    await refused(unfinished, { code: 'UNAVAILABLE', reason: 'DRAINING' });
    open();
    await complete;
    await closed;
  });
});
