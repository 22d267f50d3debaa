import { randomBytes } from 'node:crypto';
import { basename, join, relative, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { status as code } from '@grpc/grpc-js';
import { Execution, Operation, Purpose, Status, Type } from '../src/gen/backup/v1/controller_pb.ts';
import { LogLevel } from '../src/gen/backup/v1/log_pb.ts';
import { archive, checkFolder, type Listener, survey } from './archive.ts';
import { codeOf, connect, LIMIT, LogWriter, messageOf, ProgressReporter, patiently } from './client.ts';

const BACKUPS = fileURLToPath(new URL('../.data/demo/backups', import.meta.url));
const LEFT_OUT = new Set(['.git', 'node_modules', '.data']);

export type Done = { file: string; files: number; bytes: number; logEntries: number };

export function newBackupId(): string {
  return randomBytes(16).toString('hex');
}

/**
 * Backs a folder up and keeps the books of it: a controller along its life cycle, a log entry for every file, and progress. When it fails
 * or is stopped, the run is FINISHED_ERR with a log entry that says why.
 */
export async function backUp(address: string, folder: string, backupId: string, stop: AbortSignal): Promise<Done> {
  await checkFolder(folder);
  using service = connect(address);
  const log = new LogWriter(service.logs, backupId, stop);
  await createController(service, backupId, stop);

  let from: Status = Status.CREATED;
  const goTo = async (to: Status) => {
    await takeStep(service, { backupId, from, to }, stop);
    from = to;
  };
  try {
    const progress = new ProgressReporter(service.controllers, backupId);
    const signal = AbortSignal.any([stop, progress.refused.signal]);
    let files = 0;
    const listener: Listener = {
      progress: share => progress.report(share),
      async note({ level, message, archived }) {
        if (archived) files++;
        await log.write(LogLevel[level], message);
      },
    };
    const items = await survey(folder, LEFT_OUT, listener, signal);
    await goTo(Status.PLANNED);
    const file = join(BACKUPS, `${basename(folder).replace(/[^\w.-]/g, '_')}-${backupId}.tar.gz`);
    await goTo(Status.CONFIGURED);
    await goTo(Status.AWAITING);
    await goTo(Status.EXECUTING);
    const bytes = await archive(items, file, listener, signal);
    await progress.settled();
    // Before the last step: it seals the log, and who tails until the seal does not see what comes later.
    await log.flush();
    await goTo(Status.FINISHED_OK);
    return { file: relative('', file), files, bytes, logEntries: log.written };
  } catch (error) {
    const message = messageOf(error);
    await log
      .write(LogLevel.ERROR, `the backup failed: ${message}`)
      .then(() => log.flush())
      .catch(() => {});
    await goTo(Status.FINISHED_ERR).catch(also => {
      throw new Error(`${message}; and the service could not be told: ${messageOf(also)}`);
    });
    throw error;
  }
}

type Service = ReturnType<typeof connect>;

async function createController({ controllers }: Service, backupId: string, stop: AbortSignal): Promise<void> {
  const request = {
    backupId,
    operation: Operation.BACKUP,
    type: Type.COURSE,
    itemId: 1n,
    purpose: Purpose.GENERAL,
    execution: Execution.IMMEDIATE,
  };
  await patiently(() => controllers.createController(request, LIMIT), stop).catch(error => {
    // The id is of our own making, so it was us, and only the answer was lost.
    if (codeOf(error) !== code.ALREADY_EXISTS) throw error;
  });
}

async function takeStep(
  { controllers }: Service,
  step: { backupId: string; from: Status; to: Status },
  stop: AbortSignal,
): Promise<void> {
  await patiently(() => controllers.transitionController(step, LIMIT), stop).catch(async error => {
    if (codeOf(error) !== code.ABORTED) throw error;
    // It is not in `from` any more: fine if it was this step, and only the answer was lost.
    const { controller } = await patiently(() => controllers.getController({ backupId: step.backupId }, LIMIT), stop);
    if (controller?.status !== step.to) throw error;
  });
}

if (import.meta.main) {
  const [address, folder] = process.argv.slice(2);
  const stop = new AbortController();
  for (const name of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) {
    process.on(name, () => stop.abort(new Error(`interrupted by ${name}`)));
  }
  try {
    if (!address || !folder) throw new Error('usage: node examples/worker.ts <address> <folder>');
    const backupId = newBackupId();
    console.log(`backup ${backupId}`);
    const done = await backUp(address, resolve(folder), backupId, stop.signal);
    console.log(
      `archive: ${done.file} (${done.files} files, ${done.bytes} bytes)\nlog entries written: ${done.logEntries}`,
    );
  } catch (error) {
    console.error(messageOf(error));
    process.exitCode = 1;
  }
}
