import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import { createInterface } from 'node:readline';

/** Whom to follow, by how many, and up to which entry. */
export type Order = { address: string; backupId: string; subscribers: number; lastId: number };

/** What the subscribers have to tell, in milliseconds of `now`. */
export type Received = {
  /** When they began to subscribe. */
  opened: number;
  /** When the first entry came to the first of them. */
  first: number;
  /** When the last entry came to the last of them. */
  last: number;
  messages: number;
  /** Of one subscriber, for each message with entries: the last id and when it came. */
  arrivals: [id: number, at: number][];
};

/** Milliseconds of a clock that all processes of a machine share and that nobody sets. */
export function now(): number {
  return Number(process.hrtime.bigint()) / 1e6;
}

/** Subscribers in a process of their own, so that neither the service nor who writes has their work. */
export function subscribe(order: Order): { live: Promise<unknown>; received: Promise<Received> } {
  return follow<Received>('tails.ts', order);
}

/** Starts a program that says `live`, and at the end what it has seen. */
export function follow<T>(program: string, order: object): { live: Promise<unknown>; received: Promise<T> } {
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
    if (code === 0) return JSON.parse(last) as T;
    const failure = new Error(`${program} has failed`);
    live.reject(failure);
    throw failure;
  });
  received.catch(() => {}); // told by whoever waits for it
  live.promise.catch(() => {});
  return { live: live.promise, received };
}
