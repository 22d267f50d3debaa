// A worker that backs folders up:
//
//   node examples/worker.ts <address>             whatever waits in the format `tar`, until it is stopped
//   node examples/worker.ts <address> <folder>    makes a run of this folder and works that one
//
// --lease <seconds> is how long the service waits for a sign of life, 15 unless it is given.
import { randomBytes, randomUUID } from 'node:crypto';
import { hostname } from 'node:os';
import { resolve } from 'node:path';
import { parseArgs } from 'node:util';
import {
  type ClaimedController,
  Execution,
  Operation,
  Purpose,
  Status,
  Type,
} from '../src/gen/backup/v1/controller_pb.ts';
import { checkFolder } from './archive.ts';
import { backUp, type Done } from './backup.ts';
import { connect, LIMIT, messageOf, patiently } from './client.ts';
import { LeaseLost } from './lease.ts';

/** What this worker understands: it claims nothing else. */
const FORMAT = 'tar';

const LEASE_SECONDS = 15;

type Service = ReturnType<typeof connect>;

export function newBackupId(): string {
  return randomBytes(16).toString('hex');
}

/** Makes a run of a folder that waits for a worker. */
export async function enqueue(
  { controllers }: Service,
  { folder, backupId = newBackupId(), format = FORMAT }: { folder: string; backupId?: string; format?: string },
  stop: AbortSignal,
): Promise<string> {
  const request = {
    backupId,
    operation: Operation.BACKUP,
    type: Type.COURSE,
    itemId: 1n,
    format,
    purpose: Purpose.ASYNC,
    status: Status.AWAITING,
    execution: Execution.DELAYED,
    payload: Buffer.from(JSON.stringify({ folder })),
    requestId: randomUUID(),
  };
  await patiently(() => controllers.createController(request, LIMIT), stop);
  return backupId;
}

/** Backs one folder up: makes a run that nobody else claims, because its format is its own, and works it. */
export async function backUpFolder(
  address: string,
  folder: string,
  backupId: string,
  stop: AbortSignal,
  leaseSeconds = LEASE_SECONDS,
): Promise<Done> {
  await checkFolder(folder);
  using service = connect(address);
  const format = `${FORMAT}-${backupId.slice(0, 16)}`;
  await enqueue(service, { folder, backupId, format }, stop);
  const claimed = await claim(service, format, leaseSeconds, stop);
  if (!claimed) {
    await service.controllers.cancelController({ backupId, reason: 'its worker has left' }, LIMIT).catch(() => {});
    stop.throwIfAborted();
    throw new Error('the run was not given to its worker');
  }
  return await backUp(service, claimed, leaseSeconds, stop);
}

/** Works what waits, one run after another, until it is stopped. */
export async function workAll(address: string, stop: AbortSignal, leaseSeconds = LEASE_SECONDS): Promise<void> {
  using service = connect(address);
  while (!stop.aborted) {
    const claimed = await claim(service, FORMAT, leaseSeconds, stop);
    if (!claimed) continue;
    const { backupId } = claimed.controller!;
    console.log(`backup ${backupId}`);
    try {
      say(await backUp(service, claimed, leaseSeconds, stop));
    } catch (error) {
      // One run that went wrong is told in its log, and is no reason to leave the others.
      console.error(error instanceof LeaseLost ? `lost: ${error.message}` : `failed: ${messageOf(error)}`);
    }
  }
}

/** One run, as soon as there is one; undefined when none came for a while, or the worker is stopped. */
async function claim(
  { controllers }: Service,
  format: string,
  leaseSeconds: number,
  stop: AbortSignal,
): Promise<ClaimedController | undefined> {
  // An answer that was lost is given again to the same request id, instead of a lease that nobody knows of.
  const request = {
    worker: `${hostname()} ${process.pid}`,
    filter: { format },
    leaseDuration: { seconds: BigInt(leaseSeconds) },
    wait: { seconds: 10n },
    requestId: randomUUID(),
  };
  try {
    const { claimed } = await patiently(
      () => controllers.claimControllers(request, { timeoutMs: 20_000, signal: stop }),
      stop,
    );
    return claimed[0];
  } catch (error) {
    if (stop.aborted) return undefined;
    throw error;
  }
}

function say({ file, files, bytes, logEntries }: Done): void {
  console.log(`archive: ${file} (${files} files, ${bytes} bytes)\nlog entries written: ${logEntries}`);
}

if (import.meta.main) {
  const { values, positionals } = parseArgs({
    allowPositionals: true,
    options: { lease: { type: 'string', default: String(LEASE_SECONDS) } },
  });
  const [address, folder] = positionals;
  const stop = new AbortController();
  for (const name of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) {
    process.on(name, () => stop.abort(new Error(`interrupted by ${name}`)));
  }
  try {
    if (!address) throw new Error('usage: node examples/worker.ts <address> [<folder>] [--lease <seconds>]');
    const leaseSeconds = Number(values.lease);
    if (folder) {
      const backupId = newBackupId();
      console.log(`backup ${backupId}`);
      say(await backUpFolder(address, resolve(folder), backupId, stop.signal, leaseSeconds));
    } else await workAll(address, stop.signal, leaseSeconds);
  } catch (error) {
    console.error(messageOf(error));
    process.exitCode = 1;
  }
}
