import { setTimeout as delay } from 'node:timers/promises';
import { type ChannelCredentials, Client, type ServiceError } from '@grpc/grpc-js';
import { LogService } from '../../gen/backup/v1/log_pb.ts';
import { createClient, type TypedClient } from '../../grpc/client.ts';
import { Tally } from './ledger.ts';

/** One of those that are watched over. */
export type Replica = Disposable & {
  readonly address: string;
  readonly logs: TypedClient<typeof LogService>;
  readonly tally: Tally;
};

export function connect(address: string, credentials: ChannelCredentials): Replica {
  const channel = new Client(address, credentials, {
    // One that is back is found within seconds, not within two minutes, and one that is silently gone is noticed.
    'grpc.initial_reconnect_backoff_ms': 100,
    'grpc.max_reconnect_backoff_ms': LONGEST_PAUSE,
    'grpc.keepalive_time_ms': 10_000,
    'grpc.keepalive_timeout_ms': 5_000,
  });
  const logs = createClient(LogService, channel);
  return { address, logs, tally: new Tally(), [Symbol.dispose]: () => channel.close() };
}

/** Pauses that become longer, up to 2 s, until something has worked again. */
export class BackOff {
  #ms = SHORTEST_PAUSE;

  /** Returns early when `signal` is aborted. */
  async pause(signal: AbortSignal): Promise<void> {
    const ms = this.#ms * (0.5 + Math.random() / 2);
    this.#ms = Math.min(LONGEST_PAUSE, this.#ms * 2);
    await delay(ms, undefined, { signal }).catch(() => {});
  }

  reset(): void {
    this.#ms = SHORTEST_PAUSE;
  }
}

/** Milliseconds. */
const SHORTEST_PAUSE = 100;
const LONGEST_PAUSE = 2_000;

/** Says that something does not work when it begins, and not again before it has worked. */
export class Complaint {
  readonly #about: string;
  readonly #tell: (line: string) => void;
  #said = false;

  constructor(about: string, tell: (line: string) => void) {
    this.#about = about;
    this.#tell = tell;
  }

  failed(error: unknown): void {
    if (!this.#said) this.#tell(`${this.#about} does not work: ${(error as ServiceError).message}`);
    this.#said = true;
  }

  worked(): void {
    if (this.#said) this.#tell(`${this.#about} works again`);
    this.#said = false;
  }
}
