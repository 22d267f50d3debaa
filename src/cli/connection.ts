import { isIPv4 } from 'node:net';
import type { Client } from '@grpc/grpc-js';
import { type Connection, type ConnectOptions, connect, openChannel } from '../client/connect.ts';
import { Failure } from './failure.ts';
import type { Settings } from './settings.ts';

/** The client library's connection to what `--address` says, for all that goes on over many streams: at another replica, too. Close it. */
export function openConnection(settings: Settings): Connection {
  return orWrongUse(() => connect({ ...optionsOf(settings), address: targetOf(settings) }));
}

/** A channel to one of the addresses, else the first; close it. */
export function channelTo(settings: Settings, address?: string): Client {
  return orWrongUse(() => openChannel({ ...optionsOf(settings), ...(address && { address }) }));
}

function optionsOf({ address, tls, tlsCa, tlsCert, tlsKey, token, tokenFile, timeout }: Settings): ConnectOptions {
  const files = tlsCa || tlsCert || tlsKey ? { ca: tlsCa, cert: tlsCert, key: tlsKey } : tls;
  return { address: address[0]!, tls: files, token, tokenFile, timeoutMs: timeout };
}

/** One target that stands for all replicas, where gRPC can have one: addresses of IPv4. With TLS it would look for the name of the first in all. */
function targetOf({ address, tls, tlsCa, tlsCert, tlsKey, token, tokenFile }: Settings): string {
  const isPlain = !(tls || tlsCa || tlsCert || tlsKey || token || tokenFile);
  const all = address.every(one => isIPv4(one.slice(0, one.lastIndexOf(':'))));
  return isPlain && all ? `ipv4:${address.join(',')}` : address[0]!;
}

function orWrongUse<T>(open: () => T): T {
  try {
    return open();
  } catch (error) {
    throw new Failure('WRONG_USE', (error as Error).message);
  }
}
