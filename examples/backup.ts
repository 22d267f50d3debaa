import { rm } from 'node:fs/promises';
import { basename, join, relative } from 'node:path';
import { fileURLToPath } from 'node:url';
import { LogLevel, type Run } from '../src/client/main.ts';
import { archive, checkFolder, type Listener, survey } from './archive.ts';
import { messageOf } from './client.ts';

const BACKUPS = fileURLToPath(new URL('../.data/demo/backups', import.meta.url));
const LEFT_OUT = new Set(['.git', 'node_modules', '.data']);

export type Done = { file: string; files: number; bytes: number; logEntries: number };

/**
 * Makes an archive of the folder that the payload of a run names, with a log entry for every file, and progress. Leaves none behind when it fails, which it
 * does when the run has to stop, too.
 */
export async function backUp(run: Run, stop: AbortSignal = run.signal): Promise<Done> {
  const signal = AbortSignal.any([run.signal, stop]);
  let files = 0;
  const listener: Listener = {
    progress: share => run.progress(share),
    async note({ level, message, archived }) {
      if (archived) files++;
      await run.log.write(LogLevel[level], message);
    },
  };
  let file: string | undefined;
  try {
    const folder = await folderOf(run);
    const items = await survey(folder, LEFT_OUT, listener, signal);
    file = join(BACKUPS, `${nameFor(folder)}-${run.backupId}${run.attempt > 1 ? `-${run.attempt}` : ''}.tar.gz`);
    const bytes = await archive(items, file, listener, signal);
    await run.log.flush();
    return { file: relative('', file), files, bytes, logEntries: run.log.acknowledged - run.log.dropped };
  } catch (error) {
    if (file) await rm(file, { force: true });
    throw new Error(`the backup failed: ${messageOf(error)}`, { cause: error });
  }
}

/** Whoever created the run has written it into the payload. */
async function folderOf(run: Run): Promise<string> {
  const { folder } = parsed(Buffer.from(await run.payload()).toString());
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

function nameFor(folder: string): string {
  return basename(folder).replace(/[^\w.-]/g, '_');
}
