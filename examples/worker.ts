// A worker that backs folders up:
//
//   node examples/worker.ts <address>             whatever waits in the format `tar`, until it is stopped
//   node examples/worker.ts <address> <folder>    makes a run of this folder and works that one
//
// --lease <seconds> is how long the service waits for a sign of life, 15 unless it is given; --grace <seconds> how long a run may go on when the worker is
// stopped, 10 unless it is given. A run that takes longer goes back into the queue.
import { randomBytes } from 'node:crypto';
import { rm } from 'node:fs/promises';
import { hostname } from 'node:os';
import { resolve } from 'node:path';
import { parseArgs } from 'node:util';
import {
  type Connection,
  Execution,
  Operation,
  Outcome,
  Purpose,
  type RunEnd,
  Status,
  Type,
} from '../src/client/main.ts';
import { checkFolder } from './archive.ts';
import { backUp, type Done } from './backup.ts';
import { connect, messageOf } from './client.ts';

/** What this worker understands: it claims nothing else. */
const FORMAT = 'tar';

const WORKER = `${hostname()} ${process.pid}`;

export type Times = { leaseSeconds?: number; graceMs?: number };

export function newBackupId(): string {
  return randomBytes(16).toString('hex');
}

/** Makes a run of a folder that waits for a worker. */
export async function enqueue(
  { controllers }: Connection,
  { folder, backupId = newBackupId(), format = FORMAT }: { folder: string; backupId?: string; format?: string },
): Promise<string> {
  await controllers.createController({
    backupId,
    operation: Operation.BACKUP,
    type: Type.COURSE,
    itemId: 1n,
    format,
    purpose: Purpose.ASYNC,
    status: Status.AWAITING,
    execution: Execution.DELAYED,
    payload: Buffer.from(JSON.stringify({ folder })),
  });
  return backupId;
}

/** Works what waits, one run after another, until the process is told to stop. */
export async function workAll(address: string, { leaseSeconds = 15, graceMs = 10_000 }: Times = {}): Promise<void> {
  using service = connect(address);
  let done: Done | undefined;
  await service.work({
    worker: WORKER,
    filter: { format: FORMAT },
    leaseSeconds,
    graceMs,
    async handler(run) {
      console.log(`backup ${run.backupId}`);
      done = undefined;
      done = await backUp(run);
    },
    // One run that went wrong is told in its log, and is no reason to leave the others.
    onEnd: (_, { result, error }) => {
      if (result === Outcome.SUCCEEDED) say(done!);
      else console.error(`${nameOf(result)}: ${messageOf(error)}`);
      if (done && result === 'LOST') void rm(done.file, { force: true });
    },
    onTrouble: error => console.error(messageOf(error)),
  });
}

/** Backs one folder up: makes a run that nobody else claims, because its format is its own, and works it. It fails when it is stopped. */
export async function backUpFolder(
  address: string,
  folder: string,
  backupId: string,
  stop: AbortSignal,
  leaseSeconds = 15,
): Promise<Done> {
  await checkFolder(folder);
  using service = connect(address);
  const format = `${FORMAT}-${backupId.slice(0, 16)}`;
  await enqueue(service, { folder, backupId, format });
  const over = new AbortController();
  let done: Done | undefined;
  let end: RunEnd | undefined;
  await service.work({
    worker: WORKER,
    filter: { format },
    leaseSeconds,
    signal: AbortSignal.any([stop, over.signal]),
    drainOn: [],
    async handler(run) {
      done = await backUp(run, stop);
    },
    onEnd: (_, how) => {
      end = how;
      over.abort();
    },
  });
  if (end?.result === Outcome.SUCCEEDED) return done!;
  if (!end) await service.controllers.cancelController({ backupId, reason: 'its worker has left' }).catch(() => {});
  stop.throwIfAborted();
  throw end?.error ?? new Error('the run was not given to its worker');
}

function say({ file, files, bytes, logEntries }: Done): void {
  console.log(`archive: ${file} (${files} files, ${bytes} bytes)\nlog entries written: ${logEntries}`);
}

function nameOf(result: RunEnd['result']): string {
  if (typeof result === 'string') return result.toLowerCase();
  return result === Outcome.CANCELLED ? 'cancelled' : 'failed';
}

if (import.meta.main) {
  const { values, positionals } = parseArgs({
    allowPositionals: true,
    options: { lease: { type: 'string', default: '15' }, grace: { type: 'string', default: '10' } },
  });
  const [address, folder] = positionals;
  try {
    if (!address) throw new Error('usage: node examples/worker.ts <address> [<folder>] [--lease <seconds>]');
    const leaseSeconds = Number(values.lease);
    if (folder) {
      const stop = new AbortController();
      for (const name of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) {
        process.on(name, () => stop.abort(new Error(`interrupted by ${name}`)));
      }
      const backupId = newBackupId();
      console.log(`backup ${backupId}`);
      say(await backUpFolder(address, resolve(folder), backupId, stop.signal, leaseSeconds));
    } else await workAll(address, { leaseSeconds, graceMs: Number(values.grace) * 1000 });
  } catch (error) {
    console.error(messageOf(error));
    process.exitCode = 1;
  }
}
