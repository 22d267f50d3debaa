import assert from 'node:assert/strict';
import { mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type Replica, startReplica } from '../../support/backend.ts';
import type { Database } from '../../support/database.ts';
import { eventually } from '../../support/eventually.ts';

/** A folder for objects. */
export type Folder = Disposable & { readonly path: string; readonly store: string; objects(): string[] };

export function newFolder(): Folder {
  const path = mkdtempSync(join(tmpdir(), 'backup-management-segments-'));
  return {
    path,
    store: `file://${path}`,
    objects: () =>
      (readdirSync(path, { recursive: true, withFileTypes: true }) as import('node:fs').Dirent[])
        .filter(entry => entry.isFile())
        .map(entry => join(entry.parentPath, entry.name)),
    [Symbol.dispose]: () => rmSync(path, { recursive: true, force: true }),
  };
}

/** Settings with which everything that is sealed is moved at once, into small segments. */
export const eager = (store: string): Record<string, string> => ({
  SEGMENT_STORE: store,
  SEGMENT_AFTER: '1s',
  SEGMENT_INTERVAL: '20ms',
  SEGMENT_BYTES: '4096',
});

/** Says of all logs that nothing was appended for an hour. */
export async function silence(database: Database): Promise<void> {
  await database.query('update backup_log_heads set lastmicros = greatest(0, lastmicros - 3600000000)');
}

/** Moves all that may be moved, by a replica of its own that is gone then. */
export async function moveAll(database: Database, settings: Record<string, string>): Promise<void> {
  await silence(database);
  await using _mover: Replica = await startReplica(database.url, settings);
  await movedAll(database);
}

/** Waits until there is nothing to move. */
export async function movedAll(database: Database): Promise<void> {
  await eventually(async () => {
    const left = await database.query(
      `select backupid from backup_log_heads
       where sealedid is not null and greatest(firstid - 1, movedid) < least(sealedid, lastid - 1)`,
    );
    assert.deepEqual(left, []);
  });
}

/** Of a log: up to which id it has left the table, in how many segments, and how many rows are left. */
export async function standing(database: Database, backupId: string): Promise<unknown[]> {
  const [row] = await database.query(
    `select (select movedid::int from backup_log_heads where backupid = $1) as moved,
       (select count(*)::int from backup_log_segments where backupid = $1) as segments,
       (select count(*)::int from backup_logs where backupid = $1) as rows`,
    [backupId],
  );
  return Object.values(row!);
}
