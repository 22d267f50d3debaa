import { createHash } from 'node:crypto';
import { SingleBar } from 'cli-progress';
import { Notes } from '../notes.ts';
import type { Session } from '../session.ts';
import { durationText } from '../terminal/times.ts';
import { Pace } from './pace.ts';

/** How far a payload has come, told on standard error: with a bar on a terminal, else at the end only. */
export class Transfer implements Disposable {
  readonly #notes: Notes;
  readonly #hash = createHash('md5');
  readonly #pace = new Pace();
  readonly #began = Date.now();
  #size: number | undefined;
  #bytes = 0;
  #bar: SingleBar | undefined;

  constructor(session: Session) {
    this.#notes = new Notes(session);
  }

  /** `size` in bytes; undefined when nobody knows. */
  begin(size: number | undefined): void {
    this.#size = size;
    if (!process.stderr.isTTY) return;
    const format = size ? '{bar} {percentage} %  {progress}' : '{progress}';
    this.#bar = new SingleBar({ stream: process.stderr, format, barsize: 30, hideCursor: true, clearOnComplete: true });
    this.#bar.start(size ?? 1, 0, { progress: '' });
  }

  add(chunk: Uint8Array): void {
    this.#hash.update(chunk);
    this.#bytes += chunk.length;
    const now = Date.now();
    if (this.#size) this.#pace.record(this.#bytes / this.#size, now);
    const left = this.#pace.remaining(now, this.#began);
    this.#bar?.update(this.#size ? this.#bytes : 0, {
      progress: `${sizeText(this.#bytes)}${left === undefined ? '' : `  ETA ${durationText(left)}`}`,
    });
  }

  /** MD5 of all of it. */
  checksum(): string {
    return this.#hash.digest('hex');
  }

  tell(done: string): void {
    this[Symbol.dispose]();
    this.#notes.say(`${done} ${sizeText(this.#bytes)} in ${durationText(Date.now() - this.#began)}`);
  }

  [Symbol.dispose](): void {
    this.#bar?.stop();
    this.#bar = undefined;
  }
}

function sizeText(bytes: number): string {
  const unit = Math.min(3, Math.floor(Math.log2(Math.max(1, bytes)) / 10));
  return unit === 0 ? `${bytes} B` : `${(bytes / 2 ** (10 * unit)).toFixed(1)} ${['', 'KiB', 'MiB', 'GiB'][unit]}`;
}
