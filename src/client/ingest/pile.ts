import type { Timestamp } from '@bufbuild/protobuf/wkt';
import type { LogLevel } from '../../gen/backup/v1/entry_pb.ts';

export type Entry = { level: LogLevel; message: string; createTime: Timestamp };

type Batch = { number: bigint; entries: Entry[]; bytes: number };

/**
 * Entries that the service has not acknowledged yet. Those that may have been sent are in batches that never change any more: who sends a number
 * again sends the same under it.
 */
export class Pile {
  /** Bytes of all that is here, about. */
  bytes = 0;
  /** Entries that were ever put here, and how many of them have gone. */
  added = 0;
  acknowledged = 0;
  #batches: Batch[] = [];
  #loose: Entry[] = [];
  #next = 1n;

  get empty(): boolean {
    return this.acknowledged === this.added;
  }

  add(entry: Entry): void {
    this.#loose.push(entry);
    this.added++;
    this.bytes += weightOf(entry);
  }

  /** A stream begins, and this is what the service has kept so far. A service that has forgotten the writer has kept nothing of what is here. */
  begin(lastNumber: bigint): void {
    this.acknowledge(lastNumber);
    if (this.#batches[0]?.number === lastNumber + 1n) return;
    this.#next = lastNumber + 1n;
    for (const batch of this.#batches) batch.number = this.#next++;
  }

  acknowledge(lastNumber: bigint): void {
    while (this.#batches.length > 0 && this.#batches[0]!.number <= lastNumber) {
      const { entries, bytes } = this.#batches.shift()!;
      this.acknowledged += entries.length;
      this.bytes -= bytes;
    }
  }

  has(number: bigint): boolean {
    return number < this.#next || this.#loose.length > 0;
  }

  /** The batch with this number, which is one that is here already, or the next one. */
  batch(number: bigint): Batch | undefined {
    if (number === this.#next && this.#loose.length > 0) this.#batches.push(this.#nextBatch());
    const [first] = this.#batches;
    return first && this.#batches[Number(number - first.number)];
  }

  #nextBatch(): Batch {
    let [count, bytes] = [0, 0];
    while (count < Math.min(this.#loose.length, BATCH_ENTRIES)) {
      const weight = weightOf(this.#loose[count]!);
      if (count > 0 && bytes + weight > BATCH_BYTES) break;
      bytes += weight;
      count++;
    }
    return { number: this.#next++, entries: this.#loose.splice(0, count), bytes };
  }
}

/** UTF-16 counts what is not ASCII as less than its UTF-8, three times less at most. */
function weightOf({ message }: Entry): number {
  return message.length + 64;
}

const BATCH_ENTRIES = 1000;
const BATCH_BYTES = 256 * 1024;
