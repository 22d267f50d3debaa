import type { Chunk } from './watched.ts';

/** What came last on this replica, in all logs together: of so many bytes, the oldest goes first. */
export class Recent {
  bytes = 0;
  readonly #most: number;
  readonly #chunks = new Set<Chunk>();

  constructor(most: number) {
    this.#most = most;
  }

  keep(chunks: Chunk[]): void {
    for (const chunk of chunks) {
      this.#chunks.add(chunk);
      this.bytes += weightOf(chunk);
    }
    for (const oldest of this.#chunks) {
      if (this.bytes <= this.#most) break;
      this.release([oldest]);
      oldest.log.drop(oldest);
    }
  }

  /** They are needed no more. */
  release(chunks: Chunk[]): void {
    for (const chunk of chunks) if (this.#chunks.delete(chunk)) this.bytes -= weightOf(chunk);
  }
}

function weightOf({ encoded, levels }: Chunk): number {
  return encoded.bytes.length + 16 * levels.length + OVERHEAD;
}

/** Of the objects of a chunk, in bytes. */
const OVERHEAD = 600;
