import type { DescService } from '@bufbuild/protobuf';
import type { Client } from '@grpc/grpc-js';
import { type CallOptions, type ServiceClient, serviceClient } from '../client/calls.ts';
import { channelTo } from './connection.ts';
import { firstReachable } from './reachable.ts';
import type { Settings } from './settings.ts';
import { type Screen, screenOf } from './terminal/screen.ts';

/** What a command works with, from its start to its end. */
export type Session = Disposable & {
  /** With the replica that was taken as the first address. */
  settings: Settings;
  screen: Screen;
  environment: Environment;
  /** Aborted when the user has enough. */
  signal: AbortSignal;
  /** A service of the replica that was taken. What fails is an `RpcError`. */
  client<S extends DescService>(service: S): ServiceClient<S>;
  /**
   * What to give with a call that has one answer: the signal, and that it is not repeated: a person hears at once what is wrong, and what they
   * call again is up to them.
   */
  call(): CallOptions;
};

type Environment = Record<string, string | undefined>;

export async function openSession(given: Settings, environment: Environment, signal: AbortSignal): Promise<Session> {
  const first = await firstReachable(given.address);
  const settings = { ...given, address: [first, ...given.address.filter(one => one !== first)] };
  let channel: Client | undefined;
  return {
    settings,
    environment,
    signal,
    screen: screenOf(process.stdout, settings, environment),
    client: service => {
      channel ??= channelTo(settings);
      return serviceClient(service, channel, { timeoutMs: settings.timeout });
    },
    call: () => ({ signal, retry: false }),
    [Symbol.dispose]: () => channel?.close(),
  };
}
