import { readFileSync } from 'node:fs';
import { rename, writeFile } from 'node:fs/promises';
import { Failure } from '../failure.ts';

/** How far a tail has come, kept in a file. It is never ahead of what was printed, and behind it by what is being printed only. */
export class ResumeFile {
  /** What is in the file. */
  token: string;
  readonly #path: string;
  #wanted: string;
  #isWriting = false;
  #writing = Promise.resolve();

  /** A file that is not there yet is begun. */
  constructor(path: string) {
    this.#path = path;
    this.token = contentOf(path);
    this.#wanted = this.token;
  }

  /** Returns at once; what is kept while a write is under way is written after it, the last one only. */
  keep(token: string): void {
    this.#wanted = token;
    if (this.#isWriting) return;
    this.#writing = this.#write();
    // Whoever waits for it hears of it.
    this.#writing.catch(() => {});
  }

  /** Resolves when what was kept last is in the file; fails if it is not. */
  async written(): Promise<void> {
    await this.#writing;
  }

  async #write(): Promise<void> {
    this.#isWriting = true;
    try {
      while (this.#wanted !== this.token) {
        const token = this.#wanted;
        await printed();
        // At every moment there is one whole file.
        await writeFile(`${this.#path}.new`, `${token}\n`, { mode: 0o600 });
        await rename(`${this.#path}.new`, this.#path);
        this.token = token;
      }
    } catch (error) {
      throw new Failure('FAILED', `the position cannot be kept: ${(error as Error).message}`);
    } finally {
      this.#isWriting = false;
    }
  }
}

function contentOf(path: string): string {
  try {
    return readFileSync(path, 'utf8').trim();
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return '';
    throw new Failure('WRONG_USE', `--resume-file cannot be read: ${(error as Error).message}`);
  }
}

function printed(): Promise<void> {
  return new Promise(resolve => process.stdout.write('', () => resolve()));
}
