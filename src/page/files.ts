import { createHash } from 'node:crypto';
import { readdir, readFile } from 'node:fs/promises';
import { extname } from 'node:path';

/** A file of the page, as it is sent. */
export type PageFile = { bytes: Buffer; type: string; etag: string };

/** What stands in `public`, by the path under which it is asked for. Read once: no path that somebody sends ever reaches the file system. */
export async function readFiles(): Promise<ReadonlyMap<string, PageFile>> {
  const folder = new URL('public/', import.meta.url);
  const names = (await readdir(folder)).filter(name => types[extname(name)]);
  return new Map(
    await Promise.all(
      names.map(async (name): Promise<[string, PageFile]> => {
        const bytes = await readFile(new URL(name, folder));
        const etag = `"${createHash('sha256').update(bytes).digest('base64url')}"`;
        return [`/${name}`, { bytes, type: types[extname(name)]!, etag }];
      }),
    ),
  );
}

const types: Record<string, string> = {
  '.css': 'text/css; charset=utf-8',
  '.js': 'text/javascript; charset=utf-8',
  '.svg': 'image/svg+xml',
};
