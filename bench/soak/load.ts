import { randomUUID } from 'node:crypto';
import { setTimeout as delay } from 'node:timers/promises';
import { type Client, type ServiceError, status } from '@grpc/grpc-js';
import { ControllerService, Operation, Outcome, Purpose, Status, Type } from '../../src/gen/backup/v1/controller_pb.ts';
import { LogLevel } from '../../src/gen/backup/v1/entry_pb.ts';
import { LogService } from '../../src/gen/backup/v1/log_pb.ts';
import { createClient } from '../../src/grpc/client.ts';
import { LINE } from '../raw-append.ts';
import { connect } from '../service.ts';
import { Runs } from './runs.ts';

/** How often each was done. Disposing stops it. */
export type Load = AsyncDisposable & { readonly turns: Record<string, number> };

/** Everything that clients do, at once and again and again, until it is stopped. Fails with what anybody was answered wrongly. */
export function startLoad(address: string, failed: (error: Error) => void): Load {
  const stop = new AbortController();
  const { signal } = stop;
  const runs = new Runs();
  const channel = connect(address);
  const turns: Record<string, number> = {};
  const unlessExpected = (name: string) => (error: Error) => {
    if (signal.aborted) return;
    if (!isCutOff(error as ServiceError)) throw error;
    console.log(`  ${name}: ${error.message}`);
  };
  const loops = activities({ address, runs, signal, ...clientsOf(channel) }).map(async ([name, turn]) => {
    turns[name] ??= 0;
    while (!signal.aborted) {
      await turn().catch(unlessExpected(name));
      turns[name]++;
      await delay(PAUSE_MS);
    }
  });
  for (const loop of loops) loop.catch(failed);
  return {
    turns,
    async [Symbol.asyncDispose]() {
      stop.abort();
      await Promise.allSettled(loops);
      channel.close();
    },
  };
}

/** Connections end by age, and with them now and then a call that was on its way: also as INTERNAL, which grpc-js makes of a reset without a status. */
function isCutOff({ code, message }: ServiceError): boolean {
  return code === status.UNAVAILABLE || (code === status.INTERNAL && message.includes('RST_STREAM with code 0'));
}

/** So that the service is busy and not at its limit, where memory says only how long its queues are. */
const PAUSE_MS = 10;

type Clients = ReturnType<typeof clientsOf>;
type Scene = Clients & { address: string; runs: Runs; signal: AbortSignal };
type Activity = [name: string, turn: () => Promise<void>];

function clientsOf(channel: Client) {
  return { controllers: createClient(ControllerService, channel), logs: createClient(LogService, channel) };
}

function activities(scene: Scene): Activity[] {
  const times = (count: number, activity: Activity): Activity[] => Array(count).fill(activity);
  return [
    ...times(1, ['create', () => createRun(scene)]),
    ...times(2, ['work', () => work(scene)]),
    ...times(4, ['append', () => append(scene)]),
    ...times(2, ['ingest', () => ingest(scene)]),
    ...times(20, ['tail', () => tail(scene, { most: 20, slowMs: 0 })]),
    ...times(3, ['slow tail', () => tail(scene, { most: 40, slowMs: 50 })]),
    ...times(3, ['stalled tail', () => tail(scene, { most: 2, slowMs: 5_000 })]),
    ...times(5, ['watch', () => watch(scene)]),
    ...times(2, ['list', () => list(scene)]),
    ...times(1, ['refusal', () => beRefused(scene)]),
    ...times(1, ['delete', () => deleteOldest(scene)]),
    ...times(1, ['purge', () => purge(scene)]),
  ];
}

/** Of these one half is deleted one by one, and the other, to which nobody but its worker writes, by age. */
async function createRun({ controllers, runs }: Scene): Promise<void> {
  const work = { operation: Operation.BACKUP, type: Type.COURSE, itemId: 1n, status: Status.AWAITING };
  await controllers.createController({ ...work, purpose: Purpose.ASYNC, backupId: runs.begin() });
  await controllers.createController({ ...work, purpose: Purpose.COPY, requestId: randomUUID() });
}

async function work({ controllers, logs, runs, signal }: Scene): Promise<void> {
  const wait = { seconds: 1n };
  const { claimed } = await controllers.claimControllers({ worker: 'soak', maxControllers: 5, wait }, { signal });
  if (claimed.length === 0) return;
  const leases = claimed.map(({ controller, leaseToken }) => ({ backupId: controller!.backupId, leaseToken }));
  for (const progress of [0.3, 0.6]) {
    await controllers.reportProgress({ reports: leases.map(lease => ({ ...lease, progress })) });
    await Promise.all(leases.map(lease => logs.appendLogs({ ...lease, entries: entries(2) })));
  }
  const failure = { outcome: Outcome.FAILED, reason: 'out of luck' };
  const { results } = await controllers.finishControllers({
    finishes: leases.map((lease, i) => ({
      ...lease,
      ...(i % 4 === 3 ? failure : { outcome: Outcome.SUCCEEDED }),
      entries: entries(3),
    })),
    requestId: randomUUID(),
  });
  for (const { error } of results) if (error) throw new Error(error.message);
  for (const { backupId } of leases) runs.finish(backupId);
}

async function append({ logs, runs }: Scene): Promise<void> {
  await runs.write(backupId =>
    logs.appendLogs({ backupId, entries: entries(10), requestId: Math.random() < 0.5 ? randomUUID() : '' }),
  );
}

async function ingest({ logs, runs }: Scene): Promise<void> {
  await runs.write(async backupId => {
    const requests = function* () {
      yield { request: { case: 'start' as const, value: { backupId, writerId: randomUUID() } } };
      for (let number = 1n; number <= 10n; number++)
        yield { request: { case: 'batch' as const, value: { number, entries: entries(10) } } };
    };
    for await (const _ of logs.ingestLogs(requests()));
  });
}

/** Opens on a connection of its own, now and then breaks off in the middle, and half of the time resumes by token. */
async function tail(
  { address, runs, signal }: Scene,
  { most, slowMs }: { most: number; slowMs: number },
): Promise<void> {
  const channel = connect(address);
  try {
    const { logs } = clientsOf(channel);
    const backupIds = runs.some(3);
    let token = '';
    for (let stream = 0; stream < 2 && backupIds.length > 0; stream++) {
      const start = token ? ({ case: 'resumeToken', value: token } as const) : ({ case: undefined } as const);
      const enough = AbortSignal.any([signal, AbortSignal.timeout(soon() + most * slowMs)]);
      let taken = 0;
      try {
        for await (const { event } of logs.tailLogs({ backupIds, start, follow: true }, { signal: enough })) {
          if (event.value && 'resumeToken' in event.value) token = event.value.resumeToken;
          if (slowMs) await delay(slowMs, undefined, { signal });
          if (++taken >= most) break;
        }
      } catch (error) {
        if (!enough.aborted) throw error;
      }
    }
  } finally {
    channel.close();
  }
}

async function watch({ controllers, runs, signal }: Scene): Promise<void> {
  let taken = 0;
  const enough = AbortSignal.any([signal, AbortSignal.timeout(soon())]);
  try {
    const backupIds = runs.some(50);
    for await (const _ of controllers.watchControllers({ backupIds }, { signal: enough })) if (++taken > 20) break;
  } catch (error) {
    if (!enough.aborted) throw error;
  }
}

async function list({ controllers, logs, runs }: Scene): Promise<void> {
  const [backupId] = runs.some(1);
  if (!backupId) return;
  let pageToken = '';
  do ({ nextPageToken: pageToken } = await logs.listLogs({ backupId, pageSize: 200, pageToken }));
  while (pageToken);
  await logs.summarizeLogs({ backupId });
  await controllers.listControllers({ pageSize: 50 });
  await controllers.summarizeControllers({});
}

async function beRefused({ controllers, logs }: Scene): Promise<void> {
  const refusals = [
    [status.INVALID_ARGUMENT, () => logs.appendLogs({ backupId: 'X', entries: entries(1) })],
    [status.NOT_FOUND, () => controllers.getController({ backupId: '0'.repeat(32) })],
    [status.CANCELLED, () => controllers.claimControllers({ worker: 'x' }, { signal: AbortSignal.abort() })],
  ] as const;
  for (const [code, call] of refusals) {
    const error = await call().then(
      () => new Error(`not refused with ${code}`),
      (error: ServiceError) => error,
    );
    if (!('code' in error) || error.code !== code) throw error;
  }
}

async function deleteOldest({ controllers, runs }: Scene): Promise<void> {
  const backupId = runs.takeFinished(100);
  if (backupId) await controllers.deleteController({ backupId });
}

async function purge({ controllers }: Scene): Promise<void> {
  await controllers.purgeControllers({ olderThan: { seconds: 5n }, purposes: [Purpose.COPY] });
}

/** Milliseconds that somebody looks on. */
function soon(): number {
  return 100 + Math.floor(Math.random() * 800);
}

function entries(count: number) {
  return Array.from({ length: count }, () => ({ level: LogLevel.INFO, message: LINE }));
}
