import { type Connection, connect } from '../client/connect.ts';
import { Failure } from './failure.ts';
import type { Settings } from './settings.ts';

/** The client library's connection to what `--address` says, for all that goes on over many streams; close it. */
export function openConnection(settings: Settings): Connection {
  const { tls, tlsCa, tlsCert, tlsKey, token, tokenFile, timeout } = settings;
  const proof = tlsCa || tlsCert || tlsKey ? { ca: tlsCa, cert: tlsCert, key: tlsKey } : tls;
  try {
    return connect({ address: settings.address[0]!, tls: proof, token, tokenFile, timeoutMs: timeout });
  } catch (error) {
    throw new Failure('WRONG_USE', (error as Error).message);
  }
}
