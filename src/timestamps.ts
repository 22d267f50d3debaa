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

/** A duration in whole milliseconds; a fraction of one is dropped. */
export function toMillis({ seconds, nanos }: Duration): number {
  return Number(seconds) * 1000 + Math.trunc(nanos / 1_000_000);
}

/** A time in nanoseconds since the epoch. */
export function toNanos({ seconds, nanos }: Timestamp): bigint {
  return seconds * 1_000_000_000n + BigInt(nanos);
}

export function fromNanos(nanos: bigint): Timestamp {
  return create(TimestampSchema, { seconds: nanos / 1_000_000_000n, nanos: Number(nanos % 1_000_000_000n) });
}
