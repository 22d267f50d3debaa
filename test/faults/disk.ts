import { execFileSync } from 'node:child_process';
import { chmodSync, chownSync, mkdirSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { House } from './house.ts';

/** Whether a disk of our own can be mounted. */
export const canMount = process.getuid?.() === 0 && process.platform === 'linux';

/** A small disk (a tmpfs) that holds the log entries of a PostgreSQL, as a tablespace, and can be full. */
export class SmallDisk implements Disposable {
  readonly #folder: string;

  private constructor(folder: string) {
    this.#folder = folder;
  }

  static async mount(house: House, megabytes: number): Promise<SmallDisk> {
    const folder = join(house.folder, 'disk');
    mkdirSync(folder);
    execFileSync('mount', ['-t', 'tmpfs', '-o', `size=${megabytes}m`, 'tmpfs', folder]);
    const disk = new SmallDisk(folder);
    try {
      const space = join(folder, 'space');
      mkdirSync(space);
      const { uid, gid } = statSync(house.cluster);
      chmodSync(house.folder, 0o711);
      chownSync(space, uid, gid);
      await house.database.query(`create tablespace small location '${space}'`);
      await house.database.query('alter table backup_logs set tablespace small');
    } catch (error) {
      disk[Symbol.dispose]();
      throw error;
    }
    return disk;
  }

  /** Takes all the room that is left. */
  fill(): void {
    try {
      writeFileSync(this.#ballast, Buffer.alloc(2 ** 20 * 1024));
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'ENOSPC') throw error;
    }
  }

  free(): void {
    rmSync(this.#ballast, { force: true });
  }

  /** After PostgreSQL has stopped. */
  [Symbol.dispose](): void {
    execFileSync('umount', ['-l', this.#folder]);
    rmSync(this.#folder, { recursive: true, force: true });
  }

  get #ballast(): string {
    return join(this.#folder, 'ballast');
  }
}
