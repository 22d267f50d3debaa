import { randomUUID } from 'node:crypto';
import { setTimeout as delay } from 'node:timers/promises';
import { type Timestamp, timestampNow } from '@bufbuild/protobuf/wkt';
import { Client, type ServiceError, status } from '@grpc/grpc-js';
import { ControllerService } from '../src/gen/backup/v1/controller_pb.ts';
import type { LogLevel } from '../src/gen/backup/v1/entry_pb.ts';
import { LogService } from '../src/gen/backup/v1/log_pb.ts';
import { createClient, type TypedClient } from '../src/grpc/client.ts';
import { clientCredentials } from '../src/grpc/credentials.ts';

/**
 * The services on a connection of its own, which is closed with it. CLIENT_TLS_CA, CLIENT_TLS_CERT, CLIENT_TLS_KEY and CLIENT_TOKEN_FILE name files
 * for a service that wants TLS, a certificate or a token.
 */
export function connect(address: string, env = process.env) {
  const { CLIENT_TLS_CA: ca, CLIENT_TLS_CERT: cert, CLIENT_TLS_KEY: key, CLIENT_TOKEN_FILE: token } = env;
  const channel = new Client(address, clientCredentials({ ca, cert, key, token }), {
    // Without this, grpc-js shares one connection among all clients of an address in a process.
    'grpc.use_local_subchannel_pool': 1,
    'grpc.enable_http_proxy': 0,
    'grpc.initial_reconnect_backoff_ms': 100,
    'grpc.max_reconnect_backoff_ms': 1000,
  });
  return {
    controllers: createClient(ControllerService, channel),
    logs: createClient(LogService, channel),
    [Symbol.dispose]: () => channel.close(),
  };
}

/** For every call that is not a stream: a call without a limit can wait for ever. */
export const LIMIT = { timeoutMs: 10_000 };

/** Repeats a call while the service is away. Only for calls that change nothing the second time: it is open whether the first one arrived. */
export async function patiently<T>(call: () => Promise<T>, stop: AbortSignal): Promise<T> {
  for (const began = Date.now(); ; ) {
    try {
      return await call();
    } catch (error) {
      const patience = stop.aborted ? 3_000 : 30_000;
      if (!mayPass(error) || Date.now() - began > patience) throw error;
      await delay(250);
    }
  }
}

export function mayPass(error: unknown): boolean {
  return codeOf(error) === status.UNAVAILABLE || codeOf(error) === status.DEADLINE_EXCEEDED;
}

export function codeOf(error: unknown): status | undefined {
  return (error as Partial<ServiceError>).code;
}

export function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}

/** Proof that a run is the worker's, to be sent with everything that is written for it. */
export type Lease = { backupId: string; leaseToken: string };

/** Appends entries in their order. While one append is under way the next batch piles up: the busier it is, the larger they get. */
export class LogWriter {
  /** Entries that the service has kept. */
  written = 0;
  readonly #logs: TypedClient<typeof LogService>;
  readonly #lease: Lease;
  readonly #stop: AbortSignal;
  readonly #pile: Entry[] = [];
  #appending: Promise<void> | undefined;
  #failure: unknown;

  constructor(logs: TypedClient<typeof LogService>, lease: Lease, stop: AbortSignal) {
    this.#logs = logs;
    this.#lease = lease;
    this.#stop = stop;
  }

  /** Resolves at once, unless the service is far behind. */
  async write(level: LogLevel, message: string): Promise<void> {
    if (this.#failure) throw this.#failure;
    // The service refuses NUL, and UTF-8 has no lone surrogates.
    const text = message.slice(0, 16_384).replaceAll('\0', '\u2400').toWellFormed();
    this.#pile.push({ level, message: text, createTime: timestampNow() });
    this.#appending ??= this.#append();
    if (this.#pile.length > 10 * BATCH_ENTRIES) await this.#appending;
  }

  /** Resolves when everything is durable. */
  async flush(): Promise<void> {
    await this.#appending;
    if (this.#failure) throw this.#failure;
  }

  async #append(): Promise<void> {
    try {
      while (this.#pile.length > 0) {
        const entries = this.#nextBatch();
        // With its own id, and the same one each time, a batch is appended once however often it is sent.
        const request = { ...this.#lease, entries, requestId: randomUUID() };
        const { dropped } = await patiently(() => this.#logs.appendLogs(request, LIMIT), this.#stop);
        this.written += entries.length - dropped;
      }
    } catch (error) {
      this.#failure = error;
    }
    this.#appending = undefined;
  }

  #nextBatch(): Entry[] {
    let count = 0;
    for (let bytes = 0; count < Math.min(this.#pile.length, BATCH_ENTRIES); count++) {
      bytes += Buffer.byteLength(this.#pile[count]!.message) + 32;
      if (bytes > BATCH_BYTES) break;
    }
    return this.#pile.splice(0, count);
  }
}

type Entry = { level: LogLevel; message: string; createTime: Timestamp };

const BATCH_ENTRIES = 1000;
const BATCH_BYTES = 1024 * 1024;
