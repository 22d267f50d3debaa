import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import type { DescMethod } from '@bufbuild/protobuf';
import { Metadata } from '@grpc/grpc-js';
import { methodDefinition } from '../src/grpc/definition.ts';
import { connect } from './service.ts';

/** What subscribers have to tell; times are milliseconds of `now`. */
export type Received = {
  /** When they began to subscribe. */
  opened: number;
  /** When the first thing that counts came to the first of them. */
  first: number;
  /** When the last one came to the last of them. */
  last: number;
  /** How many came to all of them together. */
  count: number;
  /** Of one subscriber, for each message with something that counts: how many had come with it, and when. */
  arrivals: [count: number, at: number][];
};

/** Milliseconds of a clock that all processes of a machine share and that nobody sets. */
export function now(): number {
  return Number(process.hrtime.bigint()) / 1e6;
}

/** Subscribers at work: resolves when all have what was there when they came, and when all have all. */
export type Following = { live: Promise<void>; received: Promise<Received> };

/**
 * Subscribers in a process of their own, so that neither the service nor who writes has their work: a program that says `live`, and at the
 * end what has come.
 */
export function follow(program: string, order: object): Following {
  const child = spawn(process.execPath, [join(import.meta.dirname, program), JSON.stringify(order)], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  const lines = createInterface({ input: child.stdout! });
  const live = Promise.withResolvers<void>();
  let last = '';
  lines.on('line', line => {
    if (line === 'live') live.resolve();
    else last = line;
  });
  const received = once(child, 'close').then(([code]) => {
    if (code === 0) return JSON.parse(last) as Received;
    const failure = new Error(`${program} has failed`);
    live.reject(failure);
    throw failure;
  });
  received.catch(() => {}); // told by whoever waits for it
  live.promise.catch(() => {});
  return { live: live.promise, received };
}

/** What one subscriber makes of its messages. */
export type Stream = {
  take(message: Buffer): void;
  /** Whether it has all that was there when it came. */
  readonly live: boolean;
  /** Whether it has all that there will be. */
  readonly over: boolean;
  /** Of what counts, how many have come. */
  readonly count: number;
};

/** Subscribes for one: hands every message to `take`, and returns what ends it. */
export type Open<S extends Stream> = (take: (message: Buffer) => void, one: S) => () => void;

/** The other side of `follow`. Each subscriber has a connection of its own, as those have that are programs. */
export function stream<S extends Stream>(subscribers: number, newStream: () => S, open: Open<S>): void {
  const received: Received = { opened: now(), first: 0, last: 0, count: 0, arrivals: [] };
  let waiting = subscribers;
  let following = subscribers;
  const ends = Array.from({ length: subscribers }, (_, i) => {
    const one = newStream();
    const take = (message: Buffer) => {
      if (following === 0) return;
      const { live, over, count } = one;
      one.take(message);
      if (one.count > count) {
        received.last = now();
        received.first ||= received.last;
        received.count += one.count - count;
        if (i === 0) received.arrivals.push([one.count, received.last]);
      }
      if (one.live && !live && --waiting === 0) console.log('live');
      if (one.over && !over && --following === 0) finish();
    };
    return open(take, one);
  });
  const finish = () => {
    for (const end of ends) end();
    // A channel that is closed while it gives out a message may keep its process for ever.
    process.stdout.write(`${JSON.stringify(received)}\n`, () => process.exit());
  };
}

/** Calls a method whose answers are a stream. */
export function overGrpc(method: DescMethod, request: Uint8Array, address: string): Open<Stream> {
  const { path, requestSerialize, responseDeserialize } = methodDefinition(method);
  return take => {
    const channel = connect(address);
    const bytes = Buffer.from(request);
    const call = channel.makeServerStreamRequest(path, requestSerialize, responseDeserialize, bytes, new Metadata());
    let ended = false;
    call.on('error', (error: Error) => {
      if (!ended) throw error;
    });
    call.on('data', take);
    return () => {
      ended = true;
      call.cancel();
      channel.close();
    };
  };
}
