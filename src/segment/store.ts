import { ErrorReason, retryAfter, StatusError } from '../errors.ts';

/** Where objects are kept: written once, never changed, removed once. */
export type Store = {
  /** Where it is, for people. */
  readonly place: string;
  /** There for good when this resolves. */
  put(key: string, object: Buffer, signal: AbortSignal): Promise<void>;
  /** Undefined when there is no such object. */
  get(key: string, signal: AbortSignal): Promise<Buffer | undefined>;
  /** Also when there is none. */
  remove(key: string, signal: AbortSignal): Promise<void>;
};

/** UNAVAILABLE: what is in the store cannot be had at the moment. */
export function unavailable(why: string, cause?: unknown): StatusError {
  return new StatusError(ErrorReason.SEGMENTS_UNAVAILABLE, `older entries of this log cannot be had: ${why}`, {
    details: [retryAfter(5000)],
    cause,
  });
}
