import { isUtf8 } from 'node:buffer';
import { constants, type Stats } from 'node:fs';
import { lstat, mkdir, open, readdir, readlink, rename, rm, stat } from 'node:fs/promises';
import { dirname } from 'node:path';
import { pipeline } from 'node:stream/promises';
import { createGzip } from 'node:zlib';
import { Header, type HeaderData, Pax } from 'tar';

/** Something found in a folder; `name` is what it is called in the archive. */
export type Item = { path: Buffer; name: string; stat: Stats };

/** What became of a file or a link. */
export type Note = { level: 'INFO' | 'WARNING'; message: string; archived: boolean };

/** Who is told of it. Every note is waited for, so a slow listener slows the work down instead of filling the memory. */
export type Listener = { note(note: Note): Promise<void>; progress(share: number): void };

export async function checkFolder(folder: string): Promise<void> {
  const found = await stat(folder).catch((error: NodeJS.ErrnoException) => {
    throw new Error(error.code === 'ENOENT' ? `there is no folder ${folder}` : error.message);
  });
  if (!found.isDirectory()) throw new Error(`${folder} is not a folder`);
}

/** All that is in a folder, except what has one of the names to leave out. Links are not followed. */
export async function survey(folder: string, leaveOut: Set<string>, listener: Listener, signal: AbortSignal) {
  const root = Buffer.from(folder);
  // With the folder itself, or the archive of an empty one would hold nothing at all, which not every reader takes.
  const items: Item[] = [{ path: root, name: '.', stat: await stat(root) }];
  const visit = async (path: Buffer, prefix: string) => {
    for (const bytes of (await readdir(path, { encoding: 'buffer' })).sort(Buffer.compare)) {
      signal.throwIfAborted();
      if (leaveOut.has(bytes.toString())) continue;
      const item = { path: Buffer.concat([path, Buffer.from('/'), bytes]), name: prefix + textOf(bytes) };
      try {
        const found = await lstat(item.path);
        items.push({ ...item, stat: found });
        if (found.isDirectory()) await visit(item.path, `${item.name}/`);
      } catch (error) {
        await listener.note(unreadable(item.name, error));
      }
    }
  };
  await visit(root, '');
  return items;
}

/** Writes a .tar.gz that appears under its name when it is whole, and returns its size. What cannot be read is noted and left out. */
export async function archive(items: Item[], file: string, listener: Listener, signal: AbortSignal): Promise<number> {
  const temporary = `${file}.partial`;
  await mkdir(dirname(file), { recursive: true });
  try {
    const output = (await open(temporary, 'wx')).createWriteStream({ flush: true });
    await pipeline(tarOf(items, listener), createGzip(), output, { signal });
    const { size } = await stat(temporary);
    await rename(temporary, file);
    return size;
  } catch (error) {
    throw signal.aborted ? signal.reason : error;
  } finally {
    await rm(temporary, { force: true });
  }
}

const BLOCK = 512;
const CHUNK = 256 * 1024;

// `create` of `tar` gives up at the first file that cannot be read. So only the headers are its work here, file by file.
async function* tarOf(items: Item[], listener: Listener): AsyncGenerator<Buffer> {
  const total = items.reduce((sum, { stat }) => sum + BLOCK + (stat.isFile() ? stat.size : 0), 0);
  let done = 0;
  for (const item of items) {
    try {
      for await (const part of entryOf(item, listener)) {
        yield part;
        done += part.length;
        listener.progress(Math.min(done / total, 1));
      }
    } catch (error) {
      await listener.note(unreadable(item.name, error));
    }
  }
  yield Buffer.alloc(2 * BLOCK);
}

/** The blocks of one item. It fails before the first of them or not at all. */
async function* entryOf({ path, name, stat }: Item, { note }: Listener): AsyncGenerator<Buffer> {
  const header = { path: name, mode: stat.mode & 0o7777, uid: stat.uid, gid: stat.gid, mtime: stat.mtime, size: 0 };
  const flaws = isUtf8(path) ? [] : ['its name is not UTF-8 and was changed'];
  const archived = (what: string) =>
    note({ level: flaws.length > 0 ? 'WARNING' : 'INFO', message: [what, ...flaws].join('; '), archived: true });
  if (stat.isDirectory()) {
    yield* encoded({ ...header, path: `${name}/`, type: 'Directory' });
  } else if (stat.isSymbolicLink()) {
    const linkpath = textOf(await readlink(path, { encoding: 'buffer' }));
    yield* encoded({ ...header, type: 'SymbolicLink', linkpath });
    await archived(`${name} -> ${linkpath}`);
  } else if (stat.isFile()) {
    // Neither followed nor waited for, should it have become a link or a pipe.
    await using file = await open(path, constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK);
    const { size } = await file.stat();
    yield* encoded({ ...header, type: 'File', size });
    let missing = size;
    while (missing > 0) {
      const part = Buffer.allocUnsafe(Math.min(missing, CHUNK));
      const { bytesRead } = await file.read(part).catch(() => ({ bytesRead: 0 }));
      if (bytesRead === 0) break;
      yield part.subarray(0, bytesRead);
      missing -= bytesRead;
    }
    // The header has promised the size, whatever became of the file, and the format wants whole blocks.
    if (missing > 0) flaws.push(`its last ${missing} bytes could not be read and are zeros`);
    for (let zeros = missing + (-size & (BLOCK - 1)); zeros > 0; zeros -= CHUNK) {
      yield Buffer.alloc(Math.min(zeros, CHUNK));
    }
    await archived(`${name} (${size} bytes)`);
  } else {
    await note({ level: 'WARNING', message: `${name}: left out, not a file, folder or link`, archived: false });
  }
}

function encoded(data: HeaderData): Buffer[] {
  const header = new Header(data);
  const needsMore = header.encode();
  return needsMore ? [new Pax(data).encode(), header.block!] : [header.block!];
}

/** File names are bytes. What is no UTF-8 in one is written as \xff. */
function textOf(bytes: Buffer): string {
  if (isUtf8(bytes)) return bytes.toString();
  const ascii = (byte: number) => (byte < 0x80 ? String.fromCharCode(byte) : `\\x${byte.toString(16)}`);
  return Array.from(bytes, ascii).join('');
}

function unreadable(name: string, error: unknown): Note {
  const { syscall, code } = error as NodeJS.ErrnoException;
  if (!syscall) throw error;
  return { level: 'WARNING', message: `${name}: left out, ${code}`, archived: false };
}
