import { strict as assert } from 'node:assert';
import { LogLevel } from '../../../src/gen/backup/v1/entry_pb.ts';
import { HealthCheckResponse_ServingStatus as Serving } from '../../../src/gen/health/v1/health_pb.ts';
import { type Backend, clients, connect, startBackend } from '../../support/backend.ts';
import { eventually } from '../../support/eventually.ts';
import { locked } from '../../support/locked.ts';
import { type Details, refused } from '../../support/status.ts';
import { append, newBackupId } from '../../support/writing.ts';

const tooManyCalls = { code: 'RESOURCE_EXHAUSTED', reason: 'TOO_MANY_CALLS' } as const;
const tooManyStreams = { code: 'RESOURCE_EXHAUSTED', reason: 'TOO_MANY_STREAMS' } as const;
const tooFast = { code: 'RESOURCE_EXHAUSTED', reason: 'RATE_EXCEEDED' } as const;
const overloaded = { code: 'RESOURCE_EXHAUSTED', reason: 'OVERLOADED' } as const;

describe('A service with limits', () => {
  for (const [setting, of, whose] of [
    ['MAX_CALLS', 'replica', undefined],
    ['MAX_CALLS_PER_CONNECTION', 'connection', /^127\.0\.0\.1:\d+$/],
    ['MAX_CALLS_PER_CALLER', 'caller', /^127\.0\.0\.1$/],
  ] as const) {
    it(`refuses calls above ${setting}, answers for its health, and takes calls again when others have ended`, async () => {
      await using backend = await startBackend({ settings: { [setting]: '3' } });
      const backupId = newBackupId();
      const running: Promise<unknown>[] = [];
      {
        await using _lock = await locked(backend.database, 'lock table backup_logs in exclusive mode');
        for (let i = 0; i < 3; i++) running.push(append(backend, backupId, ['taken']));
        await eventually(() => assert.equal(backend.app.admission.calls, 3));
        limit(await refused(append(backend, backupId, ['refused']), tooManyCalls), 'calls', of, '3', whose);
        await eventually(async () => assert.equal((await backend.health.check({})).status, Serving.SERVING));
        const elsewhere = await another(backend);
        const call = elsewhere.logs.appendLogs({ backupId: newBackupId(), entries: [line('elsewhere')] });
        if (of === 'connection') running.push(call);
        else await refused(call, tooManyCalls);
        await eventually(() => assert.equal(backend.app.admission.calls, running.length));
      }
      await Promise.all(running);
      const { firstId } = await append(backend, backupId, ['again']);
      assert.equal(firstId, 4n, 'what was refused has left something');
      assert.equal(backend.app.admission.refused.get(`calls of ${of}`), of === 'connection' ? 1 : 2);
    });
  }

  for (const [setting, of] of [
    ['MAX_STREAMS', 'replica'],
    ['MAX_STREAMS_PER_CONNECTION', 'connection'],
    ['MAX_STREAMS_PER_CALLER', 'caller'],
  ] as const) {
    it(`refuses streams above ${setting} and says so`, async () => {
      await using backend = await startBackend({ settings: { [setting]: '2' } });
      const stop = new AbortController();
      const tail = (replica: Pick<Backend, 'logs'>) => drain(replica, stop.signal);
      const open = [tail(backend), tail(backend)];
      await eventually(() => assert.equal(backend.app.admission.streams, 2));
      limit(await refused(tail(backend), tooManyStreams), 'streams', of, '2');
      const elsewhere = await another(backend);
      if (of === 'connection') {
        open.push(tail(elsewhere));
        await eventually(() => assert.equal(backend.app.admission.streams, 3));
      } else await refused(tail(elsewhere), tooManyStreams);
      // What is no stream is served.
      await append(backend, newBackupId(), ['x']);
      stop.abort();
      for (const one of open) await assert.rejects(one);
      await eventually(() => assert.equal(backend.app.admission.streams, 0));
    });
  }

  for (const [setting, of] of [
    ['APPEND_RATE_PER_CONNECTION', 'connection'],
    ['APPEND_RATE_PER_CALLER', 'caller'],
  ] as const) {
    it(`refuses appends above ${setting}, and takes them after the time that it says`, async () => {
      await using backend = await startBackend({ settings: { [setting]: '20000' } });
      const backupId = newBackupId();
      const large = 'x'.repeat(60_000);
      await append(backend, backupId, [large]);
      const details = await refused(append(backend, backupId, ['refused']), tooFast);
      limit(details, 'bytes', of, '20000');
      const elsewhere = await another(backend);
      if (of === 'connection') await append(elsewhere, backupId, ['taken']);
      else await refused(append(elsewhere, backupId, ['refused']), tooFast);
      // 60,000 bytes, of which a second's 20,000 were there.
      const { seconds, nanos } = details.retry!.retryDelay!;
      const ms = Number(seconds) * 1000 + nanos / 1_000_000;
      assert.ok(ms > 0 && ms < 2100, `${ms}`);
      const began = performance.now();
      await eventually(() => append(backend, backupId, ['again']));
      assert.ok(performance.now() - began < 20_000);
      // Reading costs nothing.
      await backend.logs.listLogs({ backupId });
    });
  }

  it('slows streams of batches down instead of refusing them', async () => {
    await using backend = await startBackend({ settings: { APPEND_RATE_PER_CALLER: '20000' } });
    const backupId = newBackupId();
    const began = performance.now();
    const requests = async function* () {
      const writerId = '01234567-89ab-4def-8123-456789abcdef';
      yield { request: { case: 'start' as const, value: { backupId, writerId } } };
      for (let number = 1n; number <= 5n; number++) {
        yield { request: { case: 'batch' as const, value: { number, entries: [line('x'.repeat(10_000))] } } };
      }
    };
    for await (const _ of backend.logs.ingestLogs(requests()));
    const ms = performance.now() - began;
    // 50,000 bytes, of which the first 20,000 are free and the last 10,000 not waited for any more by anybody.
    assert.ok(ms > 900, `${ms} ms`);
    assert.equal((await backend.logs.listLogs({ backupId })).entries.length, 5);
  });

  it('takes no more bytes of requests than it has room for, but one request of any size', async () => {
    await using backend = await startBackend({ settings: { MAX_REQUEST_BYTES: '100000' } });
    const backupId = newBackupId();
    await append(backend, backupId, ['x'.repeat(500_000)]);
    const running: Promise<unknown>[] = [];
    {
      await using _lock = await locked(backend.database, 'lock table backup_logs in exclusive mode');
      running.push(append(backend, backupId, ['x'.repeat(90_000)]));
      await eventually(() => assert.equal(backend.app.admission.calls, 1));
      const details = await refused(append(backend, backupId, ['x'.repeat(20_000)]), overloaded);
      limit(details, 'request bytes', 'replica', '100000');
      running.push(append(backend, backupId, ['small']));
      await eventually(() => assert.equal(backend.app.admission.calls, 2));
    }
    await Promise.all(running);
    assert.equal((await append(backend, backupId, ['last'])).firstId, 4n);
  });
});

const others: { close(): void }[] = [];

afterEach(() => {
  for (const channel of others.splice(0)) channel.close();
});

/** Clients with a connection of their own. */
async function another(backend: Backend) {
  const channel = connect(backend.address);
  others.push(channel);
  return clients(channel);
}

function line(message: string) {
  return { level: LogLevel.INFO, message };
}

async function drain({ logs }: Pick<Backend, 'logs'>, signal: AbortSignal): Promise<void> {
  for await (const _ of logs.tailLogs({ backupIds: [newBackupId()], follow: true }, { signal }));
}

/** What a refusal says of the limit that it was refused by. */
function limit({ info, retry }: Details, what: string, of: string, most: string, whose?: RegExp): void {
  const { metadata } = info!;
  assert.deepEqual([metadata['limit'], metadata['of'], metadata['most']], [what, of, most]);
  if (whose) assert.match(metadata['whose']!, whose);
  assert.ok(retry?.retryDelay && (retry.retryDelay.seconds > 0n || retry.retryDelay.nanos > 0));
}
