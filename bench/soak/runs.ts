import { newBackupId } from '../raw-append.ts';

type Run = { backupId: string; writers: number };

/** The runs of a soak: nobody deletes one that somebody writes to, or its log would come back and stay. */
export class Runs {
  readonly #all = new Map<string, Run>();
  readonly #finished = new Set<string>();

  begin(): string {
    const backupId = newBackupId();
    this.#all.set(backupId, { backupId, writers: 0 });
    return backupId;
  }

  finish(backupId: string): void {
    if (this.#all.has(backupId)) this.#finished.add(backupId);
  }

  /** Any that are there, up to `most`. */
  some(most: number): string[] {
    const ids = [...this.#all.keys()];
    const first = Math.floor(Math.random() * Math.max(1, ids.length - most));
    return ids.slice(first, first + most);
  }

  async write(work: (backupId: string) => Promise<unknown>): Promise<void> {
    const run = this.#all.get(this.some(1)[0] ?? '');
    if (!run) return;
    run.writers++;
    await work(run.backupId).finally(() => run.writers--);
  }

  /** The oldest of the finished ones that may go, when there are more than `kept`. */
  takeFinished(kept: number): string | undefined {
    if (this.#finished.size <= kept) return undefined;
    const backupId = [...this.#finished].find(id => this.#all.get(id)?.writers === 0);
    if (backupId === undefined) return undefined;
    this.#finished.delete(backupId);
    this.#all.delete(backupId);
    return backupId;
  }
}
