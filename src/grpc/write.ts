import type { Writable } from 'node:stream';

/**
 * Writes one message of a stream and waits until the peer's flow control let it out: false when that took longer than `timeoutMs` or
 * `signal` was aborted. One message at a time is all that is ever in flight, so a peer that stops reading costs one message of memory.
 */
export function write(call: Writable, bytes: Buffer, signal: AbortSignal, timeoutMs: number): Promise<boolean> {
  return new Promise(resolve => {
    if (signal.aborted) return resolve(false);
    const settle = (taken: boolean) => {
      clearTimeout(timer);
      signal.removeEventListener('abort', abort);
      resolve(taken);
    };
    // After a cancel grpc-js calls no write callback and emits no drain, so the callback alone would wait for ever.
    const abort = () => settle(false);
    const timer = setTimeout(settle, timeoutMs, false);
    signal.addEventListener('abort', abort, { once: true });
    call.write(bytes, error => settle(!error));
  });
}
