import { ErrorReason, retryAfter, StatusError } from '../errors.ts';
import type { Credentials, Location } from './location.ts';

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

/** The store of a place, with nothing asked of it yet. What it needs is loaded now. Whatever fails later is SEGMENTS_UNAVAILABLE. */
export async function openStore(location: Location, credentials: Credentials): Promise<Store> {
  const store =
    location.kind === 'folder'
      ? (await import('./folder.ts')).folderStore(location.path)
      : (await import('./s3.ts')).s3Store(location, credentials);
  const { place } = store;
  return {
    place,
    put: (key, object, signal) => bounded(place, signal, stop => store.put(key, object, stop)),
    get: (key, signal) => bounded(place, signal, stop => store.get(key, stop)),
    remove: (key, signal) => bounded(place, signal, stop => store.remove(key, stop)),
  };
}

/** UNAVAILABLE: what is in the store cannot be had at the moment. */
export function unavailable(why: string, cause?: unknown): StatusError {
  return new StatusError(ErrorReason.SEGMENTS_UNAVAILABLE, `older entries of this log cannot be had: ${why}`, {
    details: [retryAfter(5000)],
    cause,
  });
}

async function bounded<T>(place: string, signal: AbortSignal, work: (stop: AbortSignal) => Promise<T>): Promise<T> {
  try {
    return await work(AbortSignal.any([signal, AbortSignal.timeout(REQUEST_MS)]));
  } catch (error) {
    signal.throwIfAborted();
    throw unavailable(
      'the object store does not answer',
      new Error(`${place}: ${(error as Error).message}`, { cause: error }),
    );
  }
}

/** What one request may take: an object has a few megabytes at most. */
const REQUEST_MS = 10_000;
