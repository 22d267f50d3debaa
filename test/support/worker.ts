// A worker as a process of its own: node test/support/worker.ts NAME SEED FOLDER ADDRESS...
// It claims and works until SIGTERM, and writes down in FOLDER what it was told. It makes mistakes on purpose: now and again it goes on
// writing for a run that it has finished or given back.
import { strict as assert } from 'node:assert';
import { randomUUID } from 'node:crypto';
import type { Socket } from 'node:net';
import { setTimeout as delay } from 'node:timers/promises';
import { timestampMs } from '@bufbuild/protobuf/wkt';
import { Client, credentials, type ServiceError, status } from '@grpc/grpc-js';
import { ControllerService, Outcome } from '../../src/gen/backup/v1/controller_pb.ts';
import { LogLevel } from '../../src/gen/backup/v1/entry_pb.ts';
import { LogService } from '../../src/gen/backup/v1/log_pb.ts';
import { createClient } from '../../src/grpc/client.ts';
import { Dice } from './dice.ts';
import { type Told, writeRecord } from './record.ts';
import { detailsOf, isPassing } from './status.ts';

type Run = { backupId: string; leaseToken: string; attempt: number; progress: number };

const [name, seed, folder, ...addresses] = process.argv.slice(2) as [string, string, string, ...string[]];
// Which runs it claims, and how long it waits for an answer.
const format = process.env['WORKER_FORMAT'] ?? '';
const timeoutMs = 6000;
const dice = new Dice(Number(seed));
const replicas = addresses.map(address => {
  const channel = new Client(address, credentials.createInsecure(), {
    'grpc.keepalive_time_ms': 1000,
    'grpc.keepalive_timeout_ms': 1000,
    'grpc.max_reconnect_backoff_ms': 500,
  });
  return { controllers: createClient(ControllerService, channel), logs: createClient(LogService, channel), channel };
});
let current = dice.below(replicas.length);
const stop = new AbortController();
process.once('SIGTERM', () => stop.abort());
// Whoever started it holds the other end: it does not outlive a test that is broken off.
process.stdin.on('end', () => process.exit(1)).resume();
(process.stdin as Socket).unref();

while (!stop.signal.aborted) await work(await claim());
for (const { channel } of replicas) channel.close();

async function work(claimed: Run[]): Promise<void> {
  let runs = claimed;
  for (let rounds = dice.below(3); rounds > 0 && runs.length > 0; rounds--) {
    runs = await report(runs);
    runs = (await Promise.all(runs.map(run => (dice.chance(0.5) ? append(run) : [run])))).flat();
    await delay(dice.below(30));
  }
  const back = runs.filter(() => dice.chance(0.05));
  for (const run of back) await release(run);
  const done = runs.filter(run => !back.includes(run));
  if (done.length > 0) await finish(done);
  for (const run of runs.filter(() => dice.chance(0.05))) {
    await report([run]);
    await append(run);
  }
}

async function claim(): Promise<Run[]> {
  const request = {
    worker: name,
    filter: { format },
    maxControllers: 1 + dice.below(5),
    leaseDuration: { seconds: 1n },
    wait: { seconds: BigInt(dice.below(3)) },
    requestId: perhaps(),
  };
  const answer = await send(request, replica =>
    replica.controllers.claimControllers(request, { signal: stop.signal, timeoutMs }),
  ).catch((error: ServiceError) => {
    if (stop.signal.aborted && error.code === status.CANCELLED) return undefined;
    throw error;
  });
  return (answer?.claimed ?? []).map(({ controller, leaseToken }) => {
    const { backupId, attempt, lease } = controller!;
    const run = { backupId, leaseToken, attempt, progress: 0 };
    const [acquired, expires] = [timestampMs(lease!.acquireTime!), timestampMs(lease!.expireTime!)];
    tell(run, { what: 'claim', token: leaseToken, acquired, expires });
    return run;
  });
}

async function report(runs: Run[]): Promise<Run[]> {
  for (const run of runs) run.progress += (1 - run.progress) * (0.01 + dice.below(1000) / 2500);
  const reports = runs.map(({ backupId, leaseToken, progress }) => ({ backupId, leaseToken, progress }));
  const request = { reports, requestId: perhaps() };
  const answer = await send(request, replica => replica.controllers.reportProgress(request, { timeoutMs }));
  return runs.filter((run, i) => {
    if (!answer) return tell(run, { what: 'unknown' });
    const { error, progress, leaseExpireTime } = answer.results[i]!;
    if (error) return tell(run, { what: 'lost' });
    assert.equal(progress, Number(run.progress.toFixed(14)), `another one's progress in ${run.backupId}`);
    return tell(run, { what: 'report', progress, expires: timestampMs(leaseExpireTime!) });
  });
}

async function append(run: Run): Promise<Run[]> {
  const { backupId, leaseToken } = run;
  const entries = Array.from({ length: 1 + dice.below(3) }, (_, i) => entry(run, `line ${i}`));
  const request = { backupId, leaseToken, entries, requestId: perhaps() };
  const held = await unlessLost(run, async () => {
    const answer = await send(request, replica => replica.logs.appendLogs(request, { timeoutMs }));
    if (!answer) return { what: 'unknown' };
    return { what: 'append', firstId: Number(answer.firstId), lastId: Number(answer.lastId) };
  });
  return held ? [run] : [];
}

async function release(run: Run): Promise<void> {
  const { backupId, leaseToken } = run;
  const request = { backupId, leaseToken, requestId: perhaps() };
  await unlessLost(run, async () => {
    const answer = await send(request, replica => replica.controllers.releaseController(request, { timeoutMs }));
    return { what: answer ? 'release' : 'unknown' };
  });
}

async function finish(runs: Run[]): Promise<void> {
  const finishes = runs.map(run => {
    const outcome = dice.pick([Outcome.SUCCEEDED, Outcome.SUCCEEDED, Outcome.SUCCEEDED_WITH_WARNINGS, Outcome.FAILED]);
    const reason = outcome === Outcome.FAILED ? lineOf(run, 'is out of luck') : '';
    const { backupId, leaseToken } = run;
    return { backupId, leaseToken, outcome, reason, entries: [entry(run, 'ends')] };
  });
  const request = { finishes, requestId: perhaps() };
  const answer = await send(request, replica => replica.controllers.finishControllers(request, { timeoutMs }));
  for (const [i, run] of runs.entries()) {
    if (!answer) {
      tell(run, { what: 'unknown' });
      continue;
    }
    const { error, outcome, sealedId } = answer.results[i]!;
    tell(run, error ? { what: 'lost' } : { what: 'finish', outcome, sealedId: Number(sealedId) });
  }
}

/** Asks one replica, and goes on with the next one when it does not answer; undefined when nobody knows whether it was done. */
async function send<A>(
  { requestId }: { requestId: string },
  ask: (replica: (typeof replicas)[number]) => Promise<A>,
): Promise<A | undefined> {
  for (;;) {
    try {
      return await ask(replicas[current % replicas.length]!);
    } catch (error) {
      if (stop.signal.aborted && (error as ServiceError).code === status.CANCELLED) throw error;
      if (!isPassing(error as ServiceError)) throw error;
      current++;
      await delay(20);
      if (!requestId) return undefined;
    }
  }
}

/** Writes down what a call for one run was answered, or that the lease is lost. */
async function unlessLost(run: Run, write: () => Promise<Told>): Promise<boolean> {
  try {
    return tell(run, await write());
  } catch (error) {
    if (detailsOf((error as ServiceError).metadata).info?.reason !== 'LEASE_LOST') throw error;
    return tell(run, { what: 'lost' });
  }
}

/** Writes down what was told, and says whether the run is still this worker's. */
function tell({ backupId, attempt }: Run, told: Told): boolean {
  writeRecord(folder, { worker: name, backupId, attempt, ...told });
  return told.what !== 'lost' && told.what !== 'unknown';
}

function entry(run: Run, text: string): { level: LogLevel; message: string } {
  return { level: LogLevel.INFO, message: lineOf(run, text) };
}

function lineOf({ attempt }: Run, text: string): string {
  return `${name} attempt ${attempt} ${text}`;
}

/** A request id, or none: the calls that have none take another way through the service. */
function perhaps(): string {
  return dice.chance(0.25) ? randomUUID() : '';
}
