import type { Sql } from '../db/sql.ts';
import { ErrorReason, leaseLost, StatusError } from '../errors.ts';
import { type Farewell, lifespan } from '../lifespan.ts';
import type { NewEntry, Tell } from '../log/append.ts';
import { ENTRY_OVERHEAD } from '../log/page.ts';
import { rideOut } from '../outage.ts';
import { type Allowance, ReadAhead } from '../read-ahead.ts';
import { keep, lookAtWriter, openWriter, type Writer } from './writer.ts';

/** Entries that are kept all or none, and how many more of them were dropped. */
export type Batch = { number: bigint; entries: NewEntry[]; dropped: number };

export type IngestEvent =
  | { kind: 'started'; lastNumber: bigint }
  | { kind: 'acknowledged'; lastNumber: bigint; lastId: bigint; dropped: number }
  | { kind: 'end'; reason: 'FINISHED' | Farewell };

export type IngestSource = {
  sql: Sql;
  tell: Tell;
  options: IngestOptions;
};

export type IngestOptions = {
  /** How old a stream may become: 80 to 120 % of it. */
  maxAgeMs: number;
  /** How long the database may be away before a stream gives up. */
  outageMs: number;
  /** In bytes. */
  ahead: Allowance;
};

/**
 * Keeps the batches of a writer, each once, and says how far they are durable. What comes while a statement is under way goes together with
 * the next one, up to a bound; then the writer has to wait.
 */
export function ingest(
  source: IngestSource,
  writer: Writer,
  batches: AsyncIterable<Batch>,
  context: { signal: AbortSignal; wrapUp: AbortSignal },
): AsyncGenerator<IngestEvent> {
  return lifespan<IngestEvent>(source.options.maxAgeMs, context, stop => follow(source, writer, batches, stop), {
    isLast: event => event.kind === 'end',
    farewell: reason => ({ kind: 'end', reason }),
  });
}

async function* follow(
  { sql, tell, options }: IngestSource,
  writer: Writer,
  batches: AsyncIterable<Batch>,
  stop: AbortSignal,
): AsyncGenerator<IngestEvent> {
  // A statement that was sent again after an outage finds what it did the first time: `last` is part of it.
  const riding = <T>(work: () => Promise<T>) => rideOut(work, options.outageMs, stop);
  let last = await riding(() => openWriter(sql, writer));
  yield { kind: 'started', lastNumber: last };
  using ahead = new ReadAhead(inOrder(batches, last), { most: READ_AHEAD_BYTES, all: options.ahead, weigh: bytesOf });
  for (let some = await ahead.take(stop); some.length > 0; some = await ahead.take(stop)) {
    const told = { kind: 'acknowledged', lastNumber: last, lastId: 0n, dropped: 0 } as const;
    for (let behind = following(last, some); behind.length > 0; behind = following(last, some)) {
      const upTo = behind.at(-1)!.number;
      const entries = behind.flatMap(batch => batch.entries);
      const { kept, appended } = await riding(() => keep(sql, writer, { last, upTo, entries }));
      if (!kept) {
        last = await riding(() => lastKept(sql, writer, last));
        continue;
      }
      if (appended) tell(writer.backupId, entries, appended);
      last = upTo;
      const dropped = behind.reduce((sum, batch) => sum + batch.dropped, 0);
      Object.assign(told, { lastId: appended?.lastId ?? 0n, dropped });
    }
    yield { ...told, lastNumber: last };
  }
  if (!stop.aborted) yield { kind: 'end', reason: 'FINISHED' };
}

/** The batches as they come, as long as none is missing between them and what is kept. */
async function* inOrder(batches: AsyncIterable<Batch>, last: bigint): AsyncGenerator<Batch> {
  let next = last + 1n;
  for await (const batch of batches) {
    if (batch.number > next) {
      throw new StatusError(ErrorReason.BATCH_MISSING, `batch ${batch.number} came, and ${next} was expected`, {
        metadata: { expected: String(next) },
      });
    }
    if (batch.number === next) next++;
    yield batch;
  }
}

/** Those that are not kept yet. */
function following(last: bigint, batches: Batch[]): Batch[] {
  let next = last + 1n;
  return batches.filter(({ number }) => number === next && next++ > 0n);
}

/**
 * Where to go on when a statement has kept nothing: behind what another stream of this writer has kept, or the same statement before its answer
 * was lost. Otherwise nothing can be kept any more.
 */
async function lastKept(sql: Sql, writer: Writer, last: bigint): Promise<bigint> {
  const found = await lookAtWriter(sql, writer);
  const known = found.last ?? 0n;
  if (known > last) return known;
  if (!found.held) throw leaseLost(writer.backupId);
  if (known === last) return last;
  throw new StatusError(ErrorReason.WRITER_FORGOTTEN, `nothing is known any more of the writer ${writer.writerId}`);
}

function bytesOf({ entries }: Batch): number {
  return entries.reduce((sum, { message }) => sum + message.length + ENTRY_OVERHEAD, 0);
}

const READ_AHEAD_BYTES = 256 * 1024;
