import { mkdir, open, readFile, rename, rm, rmdir, stat } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import type { Store } from './store.ts';

/** Objects as files below a folder, which has to be there: of all replicas the same one. */
export function folderStore(path: string): Store {
  const fileOf = (key: string) => join(path, key);
  // One for each object, so that it is known by the key when whoever wrote it is gone.
  const unfinishedOf = (key: string) => `${fileOf(key)}.unfinished`;
  return {
    place: `file://${path}`,

    async put(key, object, signal) {
      await stat(path);
      const file = fileOf(key);
      await mkdir(dirname(file), { recursive: true });
      const unfinished = unfinishedOf(key);
      try {
        await writeDurably(unfinished, object, signal);
        await rename(unfinished, file);
      } catch (error) {
        await rm(unfinished, { force: true });
        throw error;
      }
      // Also that of the backup, which may be new.
      for (const folder of [dirname(file), path]) await syncFolder(folder);
    },

    async get(key, signal) {
      try {
        return await readFile(fileOf(key), { signal });
      } catch (error) {
        if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error;
        // A folder that is not mounted has lost nothing.
        await stat(path);
        return undefined;
      }
    },

    async remove(key) {
      await stat(path);
      for (const file of [unfinishedOf(key), fileOf(key)]) await rm(file, { force: true });
      // Of the backup; it stays while there are others in it.
      await rmdir(dirname(fileOf(key))).catch(() => {});
    },
  };
}

async function writeDurably(file: string, object: Buffer, signal: AbortSignal): Promise<void> {
  await using handle = await open(file, 'wx');
  await handle.writeFile(object, { signal });
  await handle.sync();
}

/** So that the name is as durable as what it stands for. */
async function syncFolder(path: string): Promise<void> {
  await using handle = await open(path, 'r');
  await handle.sync();
}
