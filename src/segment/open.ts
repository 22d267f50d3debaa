import type { Credentials, Location } from './location.ts';
import { type Store, unavailable } from './store.ts';

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
