import { create } from '@bufbuild/protobuf';
import { type Duration, type Timestamp, TimestampSchema } from '@bufbuild/protobuf/wkt';

/** Epoch seconds of a column, where 0 means that there is no time. */
export function fromSeconds(seconds: bigint): Timestamp | undefined {
  return seconds === 0n ? undefined : create(TimestampSchema, { seconds });
}

/** Epoch milliseconds of a column. */
export function fromMillis(millis: bigint): Timestamp {
  return create(TimestampSchema, { seconds: millis / 1000n, nanos: Number(millis % 1000n) * 1_000_000 });
}

/** The first whole second at or after a time: what a bound on whole seconds means, whichever side it is. */
export function ceilSeconds({ seconds, nanos }: Timestamp): bigint {
  return seconds + (nanos > 0 ? 1n : 0n);
}

/** What `fromSeconds` is made of again; a fraction of a second is dropped. */
export function toSeconds(timestamp: Timestamp | undefined): bigint {
  return timestamp?.seconds ?? 0n;
}

/** Times of any one unit, in their order; what is null is none. */
export function ascending(times: (bigint | null)[]): bigint[] {
  return times.filter(time => time !== null).sort((a, b) => (a < b ? -1 : 1));
}

/** A duration in whole milliseconds; a fraction of one is dropped. */
export function toMillis({ seconds, nanos }: Duration): number {
  return Number(seconds) * 1000 + Math.trunc(nanos / 1_000_000);
}

/** Nanoseconds since the epoch. */
export function fromNanos(nanos: bigint): Timestamp {
  return create(TimestampSchema, { seconds: nanos / 1_000_000_000n, nanos: Number(nanos % 1_000_000_000n) });
}
