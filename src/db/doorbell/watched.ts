import type { Connection, ConnectionOptions, Transport } from './connection.ts';

/** Rejects when the connection breaks, with the first reason; the calls that wait for an answer do so, too. */
export type Watched = Connection & { readonly broken: Promise<never> };

/** A connection that counts as broken when an answer takes longer than `timeoutMs` or is an error, or `signal` is aborted. */
export function watched(
  transport: Transport,
  options: Omit<ConnectionOptions, 'broken'> & { signal: AbortSignal },
): Watched {
  const { timeoutMs, signal } = options;
  const { promise: broken, reject: hangUp } = Promise.withResolvers<never>();
  broken.catch(() => {});
  const stop = () => hangUp(new Error('disposed of'));
  signal.addEventListener('abort', stop);
  const connection = transport({ ...options, broken: hangUp });
  // A half-open connection looks alive for ever: only an answer proves that rings come through.
  const answered = async <T>(answer: Promise<T>): Promise<T> => {
    answer.catch(hangUp);
    const timer = setTimeout(() => hangUp(new Error(`no answer within ${timeoutMs} ms`)), timeoutMs).unref();
    return Promise.race([answer, broken]).finally(() => clearTimeout(timer));
  };
  return {
    broken,
    listen: () => answered(connection.listen()),
    send: payloads => answered(connection.send(payloads)),
    othersListen: () => answered(connection.othersListen()),
    close() {
      signal.removeEventListener('abort', stop);
      connection.close();
    },
  };
}
