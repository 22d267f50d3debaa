import { randomBytes, randomUUID } from 'node:crypto';
import { basename, join, relative, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { Execution, Operation, Purpose, Status, Type } from '../src/gen/backup/v1/controller_pb.ts';
import { LogLevel } from '../src/gen/backup/v1/entry_pb.ts';
import { archive, checkFolder, type Listener, survey } from './archive.ts';
import { connect, LIMIT, LogWriter, messageOf, ProgressReporter, patiently } from './client.ts';

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
  const { controllers, logs } = service;
  const log = new LogWriter(logs, backupId, stop);
  // With a request id a call may be sent again when its answer was lost: it does nothing the second time and answers as the first time.
  const creation = {
    backupId,
    operation: Operation.BACKUP,
    type: Type.COURSE,
    itemId: 1n,
    purpose: Purpose.GENERAL,
    execution: Execution.IMMEDIATE,
    requestId: randomUUID(),
  };
  await patiently(() => controllers.createController(creation, LIMIT), stop);

  let from: Status = Status.CREATED;
  const goTo = async (to: Status) => {
    const step = { backupId, from, to, requestId: randomUUID() };
    await patiently(() => controllers.transitionController(step, LIMIT), stop);
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
