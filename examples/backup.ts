import { randomUUID } from 'node:crypto';
import { rm } from 'node:fs/promises';
import { basename, join, relative } from 'node:path';
import { fileURLToPath } from 'node:url';
import { type ClaimedController, ControllerView, Outcome } from '../src/gen/backup/v1/controller_pb.ts';
import { LogLevel } from '../src/gen/backup/v1/entry_pb.ts';
import { ErrorReason } from '../src/gen/backup/v1/error_pb.ts';
import { archive, checkFolder, type Listener, survey } from './archive.ts';
import { type connect, type Lease, LIMIT, LogWriter, messageOf, patiently } from './client.ts';
import { Heartbeat, LeaseLost } from './lease.ts';

const BACKUPS = fileURLToPath(new URL('../.data/demo/backups', import.meta.url));
const LEFT_OUT = new Set(['.git', 'node_modules', '.data']);

type Service = ReturnType<typeof connect>;

export type Done = { file: string; files: number; bytes: number; logEntries: number };

/**
 * Works a run that was claimed to its end: an archive of the folder that its payload names, a log entry for every file, progress. When it fails, is stopped or
 * cancelled, the run ends as failed with the reason as its last entry. When its lease is lost it is somebody else's: nothing more is written.
 */
export async function backUp(
  service: Service,
  { controller, leaseToken }: ClaimedController,
  leaseSeconds: number,
  stop: AbortSignal,
): Promise<Done> {
  const { backupId, attempt } = controller!;
  const lease = { backupId, leaseToken };
  const log = new LogWriter(service.logs, lease, stop);
  let file: string | undefined;
  try {
    let bytes: number;
    let files = 0;
    {
      await using heartbeat = new Heartbeat(service.controllers, lease, leaseSeconds);
      const signal = AbortSignal.any([stop, heartbeat.signal]);
      const listener: Listener = {
        progress: share => heartbeat.report(share),
        async note({ level, message, archived }) {
          if (archived) files++;
          await log.write(LogLevel[level], message);
        },
      };
      const folder = await folderOf(service, backupId, stop);
      const items = await survey(folder, LEFT_OUT, listener, signal);
      const name = `${basename(folder).replace(/[^\w.-]/g, '_')}-${backupId}${attempt > 1 ? `-${attempt}` : ''}`;
      file = join(BACKUPS, `${name}.tar.gz`);
      bytes = await archive(items, file, listener, signal);
      await log.flush();
    }
    await finish(service, lease, { outcome: Outcome.SUCCEEDED }, stop);
    return { file: relative('', file), files, bytes, logEntries: log.written };
  } catch (error) {
    if (file) await rm(file, { force: true });
    if (error instanceof LeaseLost) throw error;
    const message = messageOf(error);
    await log.flush().catch(() => {});
    await finish(service, lease, { outcome: Outcome.FAILED, reason: `the backup failed: ${message}` }, stop).catch(
      also => {
        throw new Error(`${message}; and the service could not be told: ${messageOf(also)}`);
      },
    );
    throw error;
  }
}

/** The folder that a payload names: whoever created the run has written it there. */
async function folderOf({ controllers }: Service, backupId: string, stop: AbortSignal): Promise<string> {
  const request = { backupId, view: ControllerView.FULL };
  const { controller } = await patiently(() => controllers.getController(request, LIMIT), stop);
  const { folder } = parsed(Buffer.from(controller!.payload).toString());
  if (typeof folder !== 'string')
    throw new Error('the payload must be JSON with the name of a folder: {"folder": "/srv"}');
  await checkFolder(folder);
  return folder;
}

function parsed(text: string): { folder?: unknown } {
  try {
    return JSON.parse(text) ?? {};
  } catch {
    return {};
  }
}

/** Ends the run. With a request id it may be said again when the answer was lost. */
async function finish(
  { controllers }: Service,
  lease: Lease,
  end: { outcome: Outcome; reason?: string },
  stop: AbortSignal,
): Promise<void> {
  const request = { finishes: [{ ...lease, ...end }], requestId: randomUUID() };
  const { results } = await patiently(() => controllers.finishControllers(request, LIMIT), stop);
  const { error } = results[0]!;
  if (error?.reason === ErrorReason.LEASE_LOST) throw new LeaseLost(error.message);
}
