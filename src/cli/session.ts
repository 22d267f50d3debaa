import type { DescService } from '@bufbuild/protobuf';
import { type ChannelCredentials, Client } from '@grpc/grpc-js';
import { createClient, type Options, type TypedClient } from '../grpc/client.ts';
import { clientCredentials } from '../grpc/credentials.ts';
import { Failure } from './failure.ts';
import type { Settings } from './settings.ts';
import { type Screen, screenOf } from './terminal/screen.ts';

/** What a command works with, from its start to its end. */
export type Session = Disposable & {
  settings: Settings;
  screen: Screen;
  environment: Environment;
  /** Aborted when the user has enough. */
  signal: AbortSignal;
  /** A service of the one that `--address` says. */
  client<S extends DescService>(service: S): TypedClient<S>;
  /** What to give with a call that has one answer: its deadline and the signal. */
  call(): Options;
};

type Environment = Record<string, string | undefined>;

export function openSession(settings: Settings, environment: Environment, signal: AbortSignal): Session {
  let channel: Client | undefined;
  return {
    settings,
    environment,
    signal,
    screen: screenOf(process.stdout, settings, environment),
    client: service => {
      channel ??= new Client(settings.address[0]!, credentialsOf(settings));
      return createClient(service, channel);
    },
    call: () => ({ signal, timeoutMs: settings.timeout }),
    [Symbol.dispose]: () => channel?.close(),
  };
}

function credentialsOf({ tlsCa, tlsCert, tlsKey, tokenFile }: Settings): ChannelCredentials {
  try {
    return clientCredentials({ ca: tlsCa, cert: tlsCert, key: tlsKey, token: tokenFile });
  } catch (error) {
    throw new Failure('WRONG_USE', (error as Error).message);
  }
}
